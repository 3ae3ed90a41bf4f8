//! Columns turn rows of text into features. Each invalid field gives an error with its place in the file.

use ndarray::{Array2, array};
use proptest::prelude::*;
use wgrad::data::{
    Category, CellFault, Columns, ColumnsError, DataError, FittedColumns, Number, Records,
    RowNumber, RowsError, Table, Target, Targets,
};

fn read(text: &str) -> Records {
    Records::read_csv("t.csv", text.as_bytes()).unwrap()
}

fn values(table: &Table) -> &[f32] {
    match table.targets() {
        Targets::Values { values, .. } => values,
        other => panic!("{other:?}"),
    }
}

fn classes(table: &Table) -> &[u32] {
    match table.targets() {
        Targets::Classes(labels) => labels.indices(),
        other => panic!("{other:?}"),
    }
}

fn rows(table: &Table) -> Vec<&[f32]> {
    table.features().chunks(table.width()).collect()
}

/// `x` has mean 20 and standard deviation 10. `y` has mean 2 and standard deviation 1.
const TWO_ROWS: &str = "x,y\n10,1\n30,3\n";

fn message<T: std::fmt::Debug>(result: Result<T, DataError>) -> String {
    result.unwrap_err().to_string()
}

/// Fits columns to a CSV text, and returns the error message.
fn refused(columns: &Columns, text: &str) -> String {
    message(columns.fit(&read(text)))
}

#[test]
fn numbers_are_scaled_by_the_training_part_alone() {
    let columns = Columns::new().number("x").value("y");
    let fitted = columns.fit(&read(TWO_ROWS)).unwrap();
    let train = fitted.table(&read(TWO_ROWS)).unwrap();
    assert_eq!(
        (train.features(), values(&train)),
        (&[-1.0, 1.0][..], &[-1.0, 1.0][..])
    );
    let test = fitted
        .table(&read("y,z,x\n1e3,a,-100\n2.5,b, 25 \n"))
        .unwrap();
    assert_eq!(
        (test.features(), values(&test)),
        (&[-12.0, 0.5][..], &[998.0, 0.5][..])
    );
    let expected = Target::Values {
        names: vec!["y".to_owned()],
        means: vec![2.0],
        deviations: vec![1.0],
    };
    assert_eq!(*fitted.target(), expected);
    assert_eq!(
        fitted.values(array![[0.0], [-1.5]].view()).unwrap(),
        array![[2.0], [0.5]]
    );

    // The other rows of the file, which are not in the training data, have no effect.
    let all = read("x,y\n10,1\n30,3\n1e6,-1e6\n7,7\n");
    let part = columns.fit(&all.select(&[0, 1]).unwrap()).unwrap();
    assert_eq!(part, fitted);
    assert_eq!(
        part.table(&all.select(&[3, 0]).unwrap()).unwrap().name(),
        "t.csv, 2 of 4 rows"
    );
}

#[test]
fn features_are_in_the_order_of_the_columns_with_indices_last() {
    let text =
        "street,town,age,area,price\nb,Ulm,3,10,1\na,Bonn,NA,30,3\nc,Ulm,5,10,1\na,,3,30,3\n";
    let fitted = Columns::new()
        .index(Category::new("street").others().width(8))
        .number(Number::new("age").missing_as_mean())
        .one_hot(Category::new("town").missing_as_category())
        .number("area")
        .value("price")
        .fit(&read(text))
        .unwrap();
    let names = [
        "age",
        "age is missing",
        "town = Bonn",
        "town = Ulm",
        "town is missing",
        "area",
        "street",
    ];
    assert_eq!(fitted.feature_names(), names);
    assert_eq!(
        (fitted.plain(), fitted.features(), fitted.outputs()),
        (6, 7, 1)
    );
    // There are three categories, and a fourth for all others.
    assert_eq!(fitted.indices().collect::<Vec<_>>(), [("street", 4, 8)]);
    let table = fitted.table(&read(text)).unwrap();
    let younger = -0.5f32.sqrt();
    let older = 2f32.sqrt();
    let expected = [
        [younger, 0.0, 0.0, 1.0, 0.0, -1.0, 2.0],
        [0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0],
        [older, 0.0, 0.0, 1.0, 0.0, -1.0, 3.0],
        [younger, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0],
    ];
    assert_eq!(rows(&table), expected);
    let unseen = fitted
        .features_of(&read("price,area,age,town,street\n?,20,,Ulm,d\n"))
        .unwrap();
    assert_eq!(unseen, array![[0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0]]);
}

#[test]
fn what_a_blank_stands_for() {
    let text = "x,y\n10,1\n,3\n30,1\n";
    let fit = |number: Number| {
        Columns::new()
            .number(number)
            .value("y")
            .fit(&read(text))
            .unwrap()
    };
    // With the blank filled in, these are the mean and standard deviation of 10, 40 and 30.
    let filled = fit(Number::new("x").missing_as(40.0))
        .table(&read("x,y\n40,1\n,1\n"))
        .unwrap();
    assert_eq!(filled.features()[0], filled.features()[1]);
    assert!(
        (filled.features()[0] - 1.069_045).abs() < 1e-6,
        "{filled:?}"
    );
    let flagged = fit(Number::new("x").missing_as_mean());
    assert_eq!(
        flagged.features_of(&read("x\nnull\n20\n")).unwrap(),
        array![[0.0, 1.0], [0.0, 0.0]]
    );
    // If the training rows contain no blank, there is no feature for blanks.
    let whole = Columns::new()
        .number(Number::new("x").missing_as_mean())
        .value("y");
    let whole = whole.fit(&read(TWO_ROWS)).unwrap();
    assert_eq!(whole.feature_names(), ["x"]);
    assert_eq!(
        whole.features_of(&read("x\n\"\"\n")).unwrap(),
        array![[0.0]]
    );
}

#[test]
fn what_counts_as_missing() {
    let columns = Columns::new()
        .number("x")
        .value("y")
        .missing(["?", " -999 ", ""]);
    for word in ["", "  ", "NA", "n/a", "nan", "NULL", "none", "?", "-999"] {
        let message = refused(&columns, &format!("x,y\n1,2\n\"{word}\",4\n"));
        let found = match word.trim() {
            "" => "a blank".to_owned(),
            word => format!("{word:?}"),
        };
        assert_eq!(
            message,
            format!(
                "t.csv, line 3, column \"x\": expected a number, found {found}; say what a blank means with \
                 `Number::missing_as_mean` or `Number::missing_as`, or leave the row out with `Records::filter`"
            )
        );
    }
    let message = refused(&Columns::new().number("x").value("y"), "x,y\n?,2\n");
    assert!(
        message.contains("expected a number, found \"?\"; correct it"),
        "{message}"
    );
}

#[test]
fn a_missing_category_and_a_missing_target() {
    let text = "k,y\na,1\nb,2\n\"\",1\n";
    for columns in [
        Columns::new().one_hot("k"),
        Columns::new().index(Category::new("k").others()),
    ] {
        let message = refused(&columns.value("y"), text);
        let expected = "t.csv, line 4, column \"k\": expected a category, found a blank; make blanks a category of \
                        their own with `Category::missing_as_category`";
        assert!(message.starts_with(expected), "{message}");
    }
    let text = "x,y\n1,1\n2,NA\n";
    for (columns, expected) in [
        (Columns::new().number("x").value("y"), "a number"),
        (Columns::new().number("x").class("y"), "a class"),
        (Columns::new().number("x").label("y"), "yes or no"),
    ] {
        let told = format!(
            "t.csv, line 3, column \"y\": expected {expected}, found \"NA\"; the column is a target: leave the row out \
             with `Records::filter`"
        );
        assert_eq!(refused(&columns, text), told);
        let fitted = columns.fit(&read("x,y\n1,1\n2,0\n")).unwrap();
        assert_eq!(message(fitted.table(&read(text))), told);
        // Rows for prediction do not need the target column.
        assert_eq!(fitted.features_of(&read(text)).unwrap().dim(), (2, 1));
    }
}

#[test]
fn a_field_that_is_no_finite_number() {
    let columns = Columns::new().number("x").value("y");
    let fitted = columns.fit(&read(TWO_ROWS)).unwrap();
    for (field, expected) in [
        ("old", "expected a number, found \"old\"; correct it"),
        ("\"1,5\"", "expected a number, found \"1,5\"; correct it"),
        ("inf", "expected a finite number, found \"inf\"; correct it"),
        (
            "-Infinity",
            "expected a finite number, found \"-Infinity\"; correct it",
        ),
        (
            "1e999",
            "expected a finite number, found \"1e999\"; correct it",
        ),
    ] {
        let text = format!("y,x\r\n1,1\r\n\r\n2,{field}\r\n");
        let expected = format!("t.csv, line 4, column \"x\": {expected}");
        for message in [
            refused(&columns, &text),
            message(fitted.table(&read(&text))),
        ] {
            assert!(message.starts_with(&expected), "{message}");
        }
    }
    let message = message(fitted.table(&read("x,y\n1,1\n2,1e300\n")));
    let expected = "t.csv, line 3, column \"y\": expected a number near those to which the columns were fitted (mean \
                    2e0, standard deviation 1e0), found \"1e300\"";
    assert!(message.starts_with(expected), "{message}");
    let error = columns
        .fit(&Records::new("t", ["x", "y"], [["1", "a"]]).unwrap())
        .unwrap_err();
    assert!(
        error.to_string().starts_with("t, row 0, column \"y\""),
        "{error}"
    );
    assert_matches!(error, DataError::Columns(ColumnsError::Cell { row: RowNumber::Row(0), column, fault: CellFault::NotANumber { found }, .. })
        if column == "y" && found == "a");
}

#[test]
fn a_column_that_is_always_the_same_is_blamed_by_its_name() {
    let both = "a,b,y\n3.5,u,1\n 3.5,u,2\n3.50,u,1\n";
    let number = Columns::new().number("a").value("y");
    assert_eq!(
        refused(&number, both),
        "column \"a\" is \"3.5\" in all 3 rows of t.csv: expected different values in the part to train on, found one; \
         such a column carries no information: leave it out"
    );
    for columns in [
        Columns::new().one_hot("b"),
        Columns::new().index(Category::new("b").others()),
    ] {
        let message = refused(&columns.value("y"), both);
        assert!(
            message.starts_with("column \"b\" is \"u\" in all 3 rows of t.csv"),
            "{message}"
        );
    }
    for columns in [
        Columns::new().number("y").class("b"),
        Columns::new().number("y").value("a"),
        Columns::new()
            .one_hot(Category::new("a").missing_as_category())
            .value("y"),
    ] {
        let error = columns.fit(&read("a,b,y\n3,u,1\n3,u,2\n")).unwrap_err();
        assert_matches!(
            error,
            DataError::Columns(ColumnsError::Constant { rows: 2, .. })
        );
    }
    let message = refused(&Columns::new().number("y").label("a"), "a,y\nYes,1\n1,2\n");
    assert!(
        message.starts_with("column \"a\" is \"Yes\" in all 2 rows"),
        "{message}"
    );
    // Only the training rows have an effect on the columns.
    let [train, _] = [read(both).select(&[0, 1]).unwrap(), read(both)];
    let message = self::message(number.fit(&train));
    assert!(
        message.contains("in all 2 rows of t.csv, 2 of 3 rows"),
        "{message}"
    );
}

#[test]
fn columns_of_blanks_and_numbers_without_a_deviation() {
    let columns = Columns::new()
        .number(Number::new("x").missing_as_mean())
        .value("y");
    let message = refused(&columns, "x,y\nNA,1\n,2\n");
    assert!(
        message.starts_with("column \"x\" is missing in all rows of t.csv"),
        "{message}"
    );
    let message = refused(&columns, "x,y\n-1e308,1\n1e308,2\n");
    assert!(
        message.starts_with("column \"x\" of t.csv lies between -1e308 and 1e308"),
        "{message}"
    );
    // Even with a large mean, the standard deviation has enough digits.
    let fitted = columns
        .fit(&read("x,y\n1700000000001,1\n1700000000003,2\n"))
        .unwrap();
    assert_eq!(
        fitted.features_of(&read("x\n1700000000002.5\n")).unwrap(),
        array![[0.5]]
    );
}

#[test]
fn columns_that_do_not_go_together() {
    let text = "x,y,z\n1,2,0\n2,3,1\n";
    let x = || Columns::new().number("x");
    for (columns, expected) in [
        (
            x().number("aera").value("y"),
            "t.csv has no column \"aera\": expected one of the columns in its header, \"x\", \"y\" and \"z\"; name one",
        ),
        (x().value("Y"), "did you mean \"y\"?"),
        (x().one_hot("x").value("y"), "column \"x\" is named twice"),
        (x().value("x"), "column \"x\" is named twice"),
        (x(), "nothing to predict: expected a target"),
        (
            Columns::new().value("y"),
            "nothing to predict from: expected a feature",
        ),
        (x().number(" ").value("y"), "a column without a name"),
        (
            x().value("y").class("z"),
            "one network cannot predict both columns \"y\" and \"z\": expected only values, only labels, or a single \
             class, found a value and a class",
        ),
        (x().class("y").class("z"), "found a class and a class"),
        (x().label("y").value("z"), "found a label and a value"),
        (
            Columns::new()
                .number(Number::new("x").missing_as(f64::NAN))
                .value("y"),
            "column \"x\": expected a finite number in place of a blank, as set with `Number::missing_as`, found NaN",
        ),
        (
            Columns::new().index(Category::new("x").width(0)).value("y"),
            "column \"x\": expected a `Category::width` from 1 to 65,536",
        ),
        (
            Columns::new()
                .one_hot(Category::new("x").width(3))
                .value("y"),
            "column \"x\": expected no `Category::width`",
        ),
        (
            Columns::new()
                .one_hot(Category::new("x").at_least(2))
                .value("y"),
            "column \"x\" of t.csv: expected categories that are in 2 rows or more, found none",
        ),
    ] {
        let message = refused(&columns, text);
        assert!(message.contains(expected), "{message}\nnot\n{expected}");
    }
}

#[test]
fn categories_that_the_training_part_does_not_have() {
    let train = "k,y\n10,1\n9,2\n9,1\n8,2\n8,1\n";
    let later = "y,k\n1,9\n2,7\n";
    let fit = |columns: Columns| columns.value("y").fit(&read(train)).unwrap();
    for columns in [Columns::new().one_hot("k"), Columns::new().index("k")] {
        let expected = "t.csv, line 3, column \"k\": expected one of the fitted categories (\"8\", \"9\" and \"10\"), \
                        found \"7\"; correct it, or treat unknown categories as one category with `Category::others`";
        assert_eq!(message(fit(columns).table(&read(later))), expected);
    }
    let known = fit(Columns::new().one_hot(Category::new("k").others()));
    assert_eq!(
        known.features_of(&read(later)).unwrap(),
        array![[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    );
    // Rare categories count as "others". The category 10 is frequent enough for its own row.
    let rare = fit(Columns::new().one_hot(Category::new("k").at_least(2)));
    assert_eq!(rare.feature_names(), ["k = 8", "k = 9"]);
    let index = fit(Columns::new().index(Category::new("k").at_least(2)));
    assert_eq!(
        index.features_of(&read("k\n10\n7\n8\n9\n")).unwrap(),
        array![[0.0], [0.0], [1.0], [2.0]]
    );
    assert_eq!(index.indices().collect::<Vec<_>>(), [("k", 3, 1)]);
    let plain = fit(Columns::new().index("k"));
    assert_eq!(
        plain.features_of(&read("k\n10\n8\n9\n")).unwrap(),
        array![[2.0], [0.0], [1.0]]
    );
    assert_eq!(plain.indices().collect::<Vec<_>>(), [("k", 3, 2)]);

    // If the training rows contain no blank, a blank is an unknown category.
    let blank = |category: Category| {
        let fitted = fit(Columns::new().index(category.missing_as_category()));
        fitted.features_of(&read("k\nNA\n"))
    };
    assert_eq!(blank(Category::new("k").others()).unwrap(), array![[0.0]]);
    assert!(message(blank(Category::new("k"))).contains("found \"NA\"; correct it"));

    let many = (0..12).map(|k| [k.to_string(), (k % 3).to_string()]);
    let many = Records::new("many", ["k", "y"], many).unwrap();
    let fitted = Columns::new().number("y").class("k").fit(&many).unwrap();
    let message = message(fitted.table(&Records::new("t", ["k", "y"], [["12", "1"]]).unwrap()));
    let expected = "t, row 0, column \"k\": expected one of the fitted categories (\"0\", \"1\", \"2\", \"3\", \"4\", \
                    \"5\", \"6\", \"7\", \"8\", \"9\" and 2 more), found \"12\"";
    assert!(message.starts_with(expected), "{message}");
}

#[test]
fn classes_and_labels() {
    let text = "x,kind,red,round\n1,b,1,no\n2,a,0.0,YES\n3,b,true,0\n";
    let fitted = Columns::new()
        .number("x")
        .class("kind")
        .fit(&read(text))
        .unwrap();
    let table = fitted.table(&read(text)).unwrap();
    assert_eq!((classes(&table), table.outputs()), (&[1, 0, 1][..], 2));
    let expected = Target::Classes {
        name: "kind".to_owned(),
        classes: vec!["a".to_owned(), "b".to_owned()],
    };
    assert_eq!(*fitted.target(), expected);
    let error = fitted.values(array![[0.0, 1.0]].view()).unwrap_err();
    assert_matches!(
        error,
        DataError::Columns(ColumnsError::NoValues { found: "classes" })
    );

    let fitted = Columns::new()
        .number("x")
        .label("red")
        .label("round")
        .fit(&read(text))
        .unwrap();
    let table = fitted.table(&read(text)).unwrap();
    assert_eq!(values(&table), [1.0, 0.0, 0.0, 1.0, 1.0, 0.0]);
    assert_eq!(fitted.outputs(), 2);
    let message = message(fitted.table(&read("x,red,round\n1,1,2\n")));
    let expected =
        "t.csv, line 2, column \"round\": expected 0 or 1, no or yes, false or true, found \"2\"";
    assert!(message.starts_with(expected), "{message}");
}

#[test]
fn a_row_at_a_time() {
    let fitted = Columns::new()
        .number("x")
        .value("y")
        .fit(&read(TWO_ROWS))
        .unwrap();
    let encoder = fitted.row("asked", &["z", " x "]).unwrap();
    let mut to = [7.0];
    encoder
        .encode(["?", " 30 "], RowNumber::Line(4), &mut to)
        .unwrap();
    assert_eq!(to, [1.0]);
    let error = encoder
        .encode(["?", "a"], RowNumber::Line(4), &mut to)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("asked, line 4, column \"x\": expected a number"),
        "{error}"
    );
    for fields in [&["1"][..], &["1", "2", "3"]] {
        let error = encoder
            .encode(fields.iter().copied(), RowNumber::Row(2), &mut to)
            .unwrap_err();
        assert_matches!(error, DataError::Rows(RowsError::Fields { expected: 2, found, row: RowNumber::Row(2), .. })
            if found == fields.len());
    }
    let error = encoder
        .encode(["1", "2"], RowNumber::Row(0), &mut [0.0; 2])
        .unwrap_err();
    assert_matches!(
        error,
        DataError::Columns(ColumnsError::Width {
            expected: 1,
            found: 2,
            ..
        })
    );
    let error = fitted.row("asked", &["z"]).unwrap_err();
    assert!(
        error.to_string().starts_with("asked has no column \"x\""),
        "{error}"
    );
    let error = fitted.row("asked", &["x", "z", "x"]).unwrap_err();
    assert!(error.to_string().contains("the 1st and the 3rd"), "{error}");
}

#[test]
fn numbers_that_come_as_arrays() {
    let x = array![[10.0, 1.0], [30.0, 5.0]];
    let y = array![[1.0], [3.0]];
    let fitted = FittedColumns::of_numbers(x.view(), y.view()).unwrap();
    assert_eq!(
        fitted.scale(array![[20.0, 7.0]].view()).unwrap(),
        array![[0.0, 2.0]]
    );
    assert_eq!(
        fitted.scale_values(y.view()).unwrap(),
        array![[-1.0], [1.0]]
    );
    assert_eq!(fitted.values(array![[2.0]].view()).unwrap(), array![[4.0]]);
    assert_eq!(fitted.feature_names(), ["column 0", "column 1"]);
    assert_eq!(FittedColumns::from_json(&fitted.to_json()).unwrap(), fitted);

    let constant = array![[1.0, 5.0], [2.0, 5.0]];
    let error = FittedColumns::of_numbers(constant.view(), y.view()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("column \"column 1\" is \"5\" in all 2 rows of x"),
        "{error}"
    );
    let error = FittedColumns::of_numbers(x.view(), constant.view()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("column \"value 1\" is \"5\" in all 2 rows of y"),
        "{error}"
    );
    let error = FittedColumns::of_numbers(x.view(), array![[1.0]].view()).unwrap_err();
    assert_matches!(
        error,
        DataError::Count {
            expected: 2,
            found: 1,
            ..
        }
    );
    let nan = array![[1.0, f32::NAN], [2.0, 5.0]];
    for error in [
        FittedColumns::of_numbers(nan.view(), y.view()).unwrap_err(),
        fitted.scale(nan.view()).unwrap_err(),
    ] {
        assert_matches!(
            error,
            DataError::NotFinite {
                column: 1,
                row: 0,
                ..
            }
        );
    }
    for (x, y) in [((0, 2), (0, 1)), ((2, 0), (2, 1)), ((2, 2), (2, 0))] {
        let error = FittedColumns::of_numbers(Array2::zeros(x).view(), Array2::zeros(y).view());
        assert_matches!(
            error.unwrap_err(),
            DataError::Empty { .. } | DataError::Columns(ColumnsError::Constant { .. })
        );
    }
    let error = fitted.scale(array![[1.0]].view()).unwrap_err();
    assert_matches!(
        error,
        DataError::Columns(ColumnsError::Width {
            expected: 2,
            found: 1,
            ..
        })
    );

    let fitted = FittedColumns::of_numbers_with_classes(x.view(), ["no", "yes"]).unwrap();
    assert_eq!((fitted.features(), fitted.outputs()), (2, 2));
    assert_eq!(FittedColumns::from_json(&fitted.to_json()).unwrap(), fitted);
    for (classes, found) in [
        (&["a"][..], "found 1 name;"),
        (&["b", "a", "a"], "found \"a\" twice;"),
        (&["a", " "], "found a blank name, number 2;"),
    ] {
        let error =
            FittedColumns::of_numbers_with_classes(x.view(), classes.iter().copied()).unwrap_err();
        assert!(error.to_string().contains(found), "{error}");
        assert_matches!(error, DataError::Columns(ColumnsError::Classes { .. }));
    }
    let text = Columns::new()
        .number("y")
        .one_hot("x")
        .label("z")
        .fit(&read("x,y,z\na,1,0\nb,2,1\n"))
        .unwrap();
    let error = text.scale(array![[1.0, 2.0]].view()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("column \"x\" is not a plain number"),
        "{error}"
    );
}

#[test]
fn a_table_that_has_no_room_is_refused() {
    let rows = 40_000;
    let text = (0..rows).map(|row| [format!("id {row}"), (row % 2).to_string()]);
    let records = Records::new("t", ["id", "y"], text).unwrap();
    let fitted = Columns::new()
        .one_hot("id")
        .value("y")
        .fit(&records)
        .unwrap();
    let often: Vec<usize> = (0..10_000_000).map(|row| row % rows).collect();
    let error = fitted.table(&records.select(&often).unwrap()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("\"id\" alone makes 40000 of the features"),
        "{error}"
    );
    assert_matches!(error, DataError::Columns(ColumnsError::Memory { .. }));
}

/// Returns records with every kind of column, and the fitted columns.
fn every_kind() -> (Records, FittedColumns) {
    let text = "n,m,f,k,i,y\n1,2,,a,u,1\n,3,5,b,v,0\n2,4,6,,u,1\n4,5,7,a,w,0\n";
    let columns = Columns::new()
        .number(Number::new("n").missing_as_mean())
        .number(Number::new("m").missing_as_mean())
        .number(Number::new("f").missing_as(0.1))
        .one_hot(Category::new("k").missing_as_category())
        .index(
            Category::new("i")
                .at_least(2)
                .missing_as_category()
                .width(3),
        )
        .value("y")
        .missing(["?", "b c"]);
    let records = read(text);
    let fitted = columns.fit(&records).unwrap();
    (records, fitted)
}

#[test]
fn columns_are_the_same_by_their_text() {
    let (records, fitted) = every_kind();
    let text = fitted.to_json();
    let again = FittedColumns::from_json(&text).unwrap();
    assert_eq!(again, fitted);
    assert_eq!(again.to_json(), text);
    let tables = [&again, &fitted].map(|columns| columns.table(&records).unwrap());
    assert_eq!(tables[0].features(), tables[1].features());
    // The saved columns include the words that stand for a missing field.
    assert_eq!(
        again
            .features_of(&read("n,m,f,k,i\n?,B C,?,?,?\n"))
            .unwrap()[[0, 1]],
        1.0
    );
}

#[test]
fn a_text_of_columns_that_is_not_sound() {
    let (_, fitted) = every_kind();
    let text = fitted.to_json();
    let changed = |from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        text.replacen(from, to, 1)
    };
    for text in [
        String::new(),
        "{}".to_owned(),
        "[".repeat(100_000),
        text[..text.len() - 1].to_owned(),
        changed("\"version\":1", "\"version\":2"),
        changed("\"version\":1", "\"version\":1,\"more\":0"),
        changed("\"missing\":[\"?\",", "\"missing\":[\"x\",\"?\","),
        changed("\"missing\":[\"?\",", "\"missing\":[\"\",\"?\","),
        changed("\"name\":\"n\"", "\"name\":\"\""),
        changed("\"name\":\"n\"", "\"name\":\" n\""),
        changed("\"name\":\"n\"", "\"name\":\"m\""),
        changed("\"name\":\"n\"", "\"name\":\"y\""),
        changed("\"mean\":\"3.5\"", "\"mean\":\"inf\""),
        changed("\"mean\":\"3.5\"", "\"mean\":\"NaN\""),
        changed("\"mean\":\"3.5\"", "\"mean\":\"1e999\""),
        changed("\"mean\":\"3.5\"", "\"mean\":\"\""),
        changed("\"mean\":\"3.5\"", "\"mean\":3.5"),
        changed("\"deviation\":\"0.5\"", "\"deviation\":\"0\""),
        changed("\"deviation\":\"0.5\"", "\"deviation\":\"-0.5\""),
        changed("\"value\":\"0.1\"", "\"value\":\"inf\""),
        changed("[\"a\",\"b\"]", "[\"a\",\"a\"]"),
        changed("[\"a\",\"b\"]", "[\"a\",\"\"]"),
        changed("\"categories\":[\"u\"]", "\"categories\":[]"),
        changed("\"width\":3", "\"width\":0"),
        changed("\"width\":3", "\"width\":65537"),
        changed("\"width\":3", "\"width\":-1"),
        changed("\"target\":{\"values\":[", "\"target\":{\"labels\":[],\"values\":["),
        r#"{"version":1,"missing":[],"features":[],"target":{"labels":["y"]}}"#.to_owned(),
        r#"{"version":1,"missing":[],"features":[{"number":{"scale":{"name":"x","mean":"0","deviation":"1"},"blank":"refused"}}],"target":{"labels":[]}}"#.to_owned(),
        r#"{"version":1,"missing":[],"features":[{"number":{"scale":{"name":"x","mean":"0","deviation":"1"},"blank":"refused"}}],"target":{"classes":{"name":"y","classes":["a"]}}}"#.to_owned(),
    ] {
        let error = FittedColumns::from_json(&text).unwrap_err();
        assert!(error.to_string().starts_with("cannot read the columns: expected the JSON text"), "{error}");
        assert_matches!(error, DataError::Columns(ColumnsError::Text { .. }));
    }
    let least = r#"{"version":1,"missing":[],"features":[{"number":{"scale":{"name":"x","mean":"0","deviation":"1"},"blank":"refused"}}],"target":{"labels":["y"]}}"#;
    assert_eq!(
        FittedColumns::from_json(least)
            .unwrap()
            .to_json()
            .replace("0.0", "0")
            .replace("1.0", "1"),
        least
    );
}

/// Generates rows with a number that may be blank, a category that may be blank, and a class.
fn any_rows() -> impl Strategy<Value = Vec<(Option<f64>, Option<u8>, bool)>> {
    let number = proptest::option::weighted(0.8, -1e9..1e9);
    let category = proptest::option::weighted(0.8, 0..5u8);
    proptest::collection::vec((number, category, any::<bool>()), 3..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The rows of a table equal the rows that are encoded one by one, and equal the definition of the columns.
    #[test]
    fn a_table_has_the_rows_that_are_encoded(rows in any_rows()) {
        let text = rows.iter().map(|(number, category, class)| {
            let number = number.map_or("NA".to_owned(), |number| number.to_string());
            [number, category.map_or(String::new(), |category| format!("c{category}")), class.to_string()]
        });
        let records = Records::new("t", ["x", "k", "y"], text).unwrap();
        let columns = Columns::new()
            .number(Number::new("x").missing_as_mean())
            .one_hot(Category::new("k").missing_as_category())
            .class("y");
        let Ok(fitted) = columns.fit(&records) else {
            let numbers = rows.iter().filter_map(|row| row.0).map(f64::to_bits).collect::<std::collections::HashSet<_>>();
            let categories = rows.iter().map(|row| row.1).collect::<std::collections::HashSet<_>>();
            let classes = rows.iter().map(|row| row.2).collect::<std::collections::HashSet<_>>();
            prop_assert!(numbers.len() < 2 || categories.len() < 2 || classes.len() < 2);
            return Ok(());
        };
        prop_assert_eq!(&FittedColumns::from_json(&fitted.to_json()).unwrap(), &fitted);
        let table = fitted.table(&records).unwrap();
        let header: Vec<&str> = vec!["y", "k", "x"];
        let encoder = fitted.row("t", &header).unwrap();
        let mut encoded = vec![0.0; fitted.features()];
        let names = fitted.feature_names();
        let numbers: Vec<f64> = rows.iter().filter_map(|row| row.0).collect();
        let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
        let variance = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / numbers.len() as f64;
        for (at, (number, category, class)) in rows.iter().enumerate() {
            let fields: Vec<&str> = records.row(at).collect();
            encoder.encode(fields.iter().rev().copied(), RowNumber::Row(0), &mut encoded).unwrap();
            prop_assert_eq!(&encoded[..], self::rows(&table)[at]);
            prop_assert_eq!(classes(&table)[at], u32::from(*class));
            for (name, &found) in names.iter().zip(&encoded) {
                let expected = match name.as_str() {
                    "x" => number.map_or(0.0, |number| (number - mean) / variance.sqrt()),
                    "x is missing" => f64::from(u8::from(number.is_none())),
                    "k is missing" => f64::from(u8::from(category.is_none())),
                    name => f64::from(u8::from(category.is_some_and(|category| name == format!("k = c{category}")))),
                };
                prop_assert!((f64::from(found) - expected).abs() <= 1e-5 * (1.0 + expected.abs()), "{name}: {found} {expected}");
            }
        }
    }
}
