//! A table of kernels, and exactly what must be reported of each: no false alarm, and none missed.

mod kernels {
    pub(crate) mod table;
}

use kernels::table::{Kind, Row, Table};

fn check(file: &str, source: &str) {
    let table = Table::read(file, source);
    let wrong: Vec<String> = table.kernels.iter().filter_map(Row::wrong).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

macro_rules! files {
    ($($name:ident)*) => {
        const FILES: &[(&str, &str)] = &[$((
            stringify!($name),
            include_str!(concat!("kernels/", stringify!($name), ".wgsl")),
        )),*];
        $(#[test]
        fn $name() {
            let file = concat!(stringify!($name), ".wgsl");
            check(file, include_str!(concat!("kernels/", stringify!($name), ".wgsl")));
        })*
    };
}

files!(workgroup storage atomics barriers patterns bounds unwritten numbers halves variables);

#[test]
fn the_table_has_enough_of_each() {
    let tables: Vec<Table> = FILES
        .iter()
        .map(|(name, source)| Table::read(name, source))
        .collect();
    let kernels = || tables.iter().flat_map(|table| &table.kernels);
    let with = |kind: Kind| {
        kernels()
            .filter(|kernel| kernel.expected.iter().any(|one| one.kind == kind))
            .count()
    };
    let clean = kernels()
        .filter(|kernel| kernel.expected.is_empty())
        .count();
    assert!(clean >= 60, "{clean} clean kernels");
    for (kind, least) in [
        (Kind::Race, 40),
        (Kind::Divergence, 12),
        (Kind::Bounds, 14),
        (Kind::Unwritten, 6),
        (Kind::Division, 4),
        (Kind::Shift, 3),
        (Kind::Conversion, 5),
        (Kind::Endless, 4),
        (Kind::Order, 5),
    ] {
        assert!(with(kind) >= least, "{kind:?}: {} kernels", with(kind));
    }
}
