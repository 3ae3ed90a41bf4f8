//! The plot of a training.

use std::fs;
use std::path::Path;

use super::{Few, assert_refused, lines, train};

#[test]
fn the_plot_has_dots_for_loss_and_for_accuracy() {
    let few = Few::new();
    let plot = few.path.join("plot.svg");
    fs::write(&plot, "from an earlier run\n".repeat(10_000)).unwrap();
    let data = [Path::new("--unverified"), Path::new("--data"), &few.path];
    let arguments = [&data[..], &[Path::new("--plot"), &plot]].concat();
    // One plot has several points, the other a single point.
    for (every, points) in [(50, 5), (0, 1)] {
        let words = format!("--device cpu --batch 20 --steps 200 --eval-every {every}");
        lines(&train(&arguments, &words));
        let svg = fs::read_to_string(&plot).unwrap();
        assert!(
            svg.starts_with("<svg ") && svg.ends_with("</svg>\n"),
            "{svg}"
        );
        for part in ["training loss", "test accuracy", ">\nstep\n<"] {
            assert!(svg.contains(part), "no \"{part}\" in: {svg}");
        }
        for color in ["#FF0000", "#0000FF"] {
            let dots = svg.lines().filter(|line| line.starts_with("<circle "));
            assert_eq!(
                dots.filter(|dot| dot.contains(color)).count(),
                points,
                "{svg}"
            );
        }
    }
}

#[test]
fn a_plot_that_cannot_be_written_is_told_before_the_data_set_is_loaded() {
    let words = "--data no/such/directory --device cpu --plot no/such/plot.svg";
    let parts = ["cannot write the plot to no/such/plot.svg", "--plot"];
    assert_refused(&train(&[], words), &parts);
}
