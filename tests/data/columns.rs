use wgrad::data::Columns;
#[test]
fn x() {
    let _ = Columns::new();
}
