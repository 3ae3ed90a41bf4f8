//! A table of kernels and their exact findings. A false alarm or a missed problem fails the test.

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

/// Returns the panic message when the first line of a kernel in the table is `line`.
fn mistake(line: &str) -> String {
    let source = format!(
        "{line}
override n: u32 = 1;
@group(0) @binding(0) var<storage, read_write> y: array<u32>;
@compute @workgroup_size(1) fn main() {{ y[0] = n; }}"
    );
    let read = || check("mistake.wgsl", &source);
    match std::panic::catch_unwind(read) {
        Ok(()) => String::new(),
        Err(panic) => panic.downcast_ref::<String>().cloned().unwrap_or_default(),
    }
}

#[test]
fn mistakes_of_the_table() {
    assert_eq!(
        mistake("//# main workgroups=1,1 zero=off budget=100 const.n=3 y=zeros:4"),
        ""
    );
    for (keys, message) in [
        ("x=64", "x is neither a key nor a binding"),
        ("bugdet=100", "bugdet is neither a key nor a binding"),
        ("zero=of", "zero=of"),
        ("budget=1e2", "budget=1e2: 1e2 is no number"),
        ("workgroups=1,b", "workgroups=1,b: b is no number"),
        ("workgroups=1,1,1,1", "x, y and z"),
        ("const.n=three", "const.n=three: three is no number"),
        ("const.m=3", "'m' not found"),
        ("order=z", "z is no binding"),
        ("y=4 y=5", "y twice"),
        ("y=@x", "x is bound after it, or not"),
        ("y=four", "four is no count"),
        ("y", "key=value"),
    ] {
        let told = mistake(&format!("//# main {keys}"));
        assert!(told.contains(message), "{keys}: {told}");
    }
}
