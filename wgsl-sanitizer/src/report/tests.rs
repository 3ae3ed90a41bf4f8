//! Tests the text of every kind of finding.

use super::{Access, Block, Finding, Order, Place, Problem, Report, Scalar, Side, Space};

fn side(line: u32, text: &str, workgroup: [u32; 3], invocation: [u32; 3]) -> Option<Side> {
    Some(Side {
        place: Place {
            file: "a.wgsl".to_owned(),
            line,
            column: 5,
            text: text.to_owned(),
        },
        workgroup,
        invocation,
        calls: Vec::new(),
    })
}

fn race(space: Space, [access, other]: [Access; 2], workgroups: [[u32; 3]; 2]) -> Finding {
    Finding {
        problem: Problem::Race {
            space,
            variable: "x".to_owned(),
            location: "x[3]".to_owned(),
            access,
            other,
            offset: 12,
        },
        side: side(8, "x[i]", workgroups[0], [1, 2, 3]),
        other: side(7, "x[j] = 1.0", workgroups[1], [0, 0, 0]),
        times: 1,
        within_and_between: false,
    }
}

fn one(problem: Problem) -> Finding {
    Finding {
        problem,
        side: side(3, "x[i]", [0, 0, 1], [4, 0, 0]),
        other: None,
        times: 1,
        within_and_between: false,
    }
}

/// The lines of a message between its first and its last line. They show the place in the source.
const HERE: &str = "
  --> a.wgsl:3:5
   |  x[i]
   |  by invocation (4, 0, 0) of workgroup (0, 0, 1)";

#[test]
fn a_race_in_workgroup_memory() {
    let mut finding = race(
        Space::Workgroup,
        [Access::Read, Access::Write],
        [[5, 6, 7]; 2],
    );
    finding.times = 1_234_567;
    assert_eq!(
        finding.to_string(),
        "data race on `x[3]` in workgroup memory: no workgroupBarrier() between
  --> a.wgsl:8:5
   |  x[i]
   |  read by invocation (1, 2, 3) of workgroup (5, 6, 7)
  --> a.wgsl:7:5
   |  x[j] = 1.0
   |  written by invocation (0, 0, 0) of workgroup (5, 6, 7)
   = 1,234,567 times in this order
   = help: put a workgroupBarrier() that all invocations reach between the two"
    );
}

#[test]
fn a_race_in_storage_within_a_workgroup() {
    let sides = [Access::Write, Access::AtomicRead];
    let finding = race(Space::Storage, sides, [[0; 3]; 2]);
    assert_eq!(
        finding.to_string(),
        "data race on `x[3]` in storage: no storageBarrier() between
  --> a.wgsl:8:5
   |  x[i]
   |  written by invocation (1, 2, 3) of workgroup (0, 0, 0)
  --> a.wgsl:7:5
   |  x[j] = 1.0
   |  read atomically by invocation (0, 0, 0) of workgroup (0, 0, 0)
   = help: put a storageBarrier() that all invocations reach between the two"
    );
}

#[test]
fn a_race_between_workgroups() {
    let sides = [Access::Read, Access::AtomicWrite];
    let finding = race(Space::Storage, sides, [[1, 0, 0], [0; 3]]);
    assert_eq!(
        finding.to_string(),
        "data race on `x[3]` in storage: nothing orders workgroups of a dispatch
  --> a.wgsl:8:5
   |  x[i]
   |  read by invocation (1, 2, 3) of workgroup (1, 0, 0)
  --> a.wgsl:7:5
   |  x[j] = 1.0
   |  written atomically by invocation (0, 0, 0) of workgroup (0, 0, 0)
   = help: give each workgroup elements of its own, make all accesses atomic, or use two dispatches"
    );
}

fn divergence(line: u32, text: &str) -> String {
    let finding = Finding {
        problem: Problem::Divergence,
        side: side(4, "workgroupBarrier", [0; 3], [0; 3]),
        other: side(line, text, [0; 3], [1, 0, 0]),
        times: 1,
        within_and_between: false,
    };
    finding.to_string()
}

#[test]
fn barriers_that_diverge() {
    let told = |other: &str| {
        format!(
            "not all invocations of a workgroup reach this barrier
  --> a.wgsl:4:5
   |  workgroupBarrier
   |  waiting: invocation (0, 0, 0) of workgroup (0, 0, 0)
{other} invocation (1, 0, 0) of workgroup (0, 0, 0)
   = help: move it to where all invocations of the workgroup execute it equally often; a GPU may hang here"
        )
    };
    assert_eq!(
        divergence(9, "return"),
        told(
            "  --> a.wgsl:9:5\n   |  return\n   |  not here, because it returned or waits elsewhere:"
        )
    );
    assert_eq!(
        divergence(9, "storageBarrier"),
        told("  --> a.wgsl:9:5\n   |  storageBarrier\n   |  at another barrier:")
    );
    assert_eq!(
        divergence(4, "workgroupBarrier"),
        told(
            "  --> a.wgsl:4:5\n   |  workgroupBarrier\n   |  at the same barrier, after fewer or more loop iterations:"
        )
    );
}

#[test]
fn an_access_out_of_bounds() {
    let told = |space, access, index, length| {
        let variable = "x".to_owned();
        one(Problem::OutOfBounds {
            space,
            variable,
            access,
            index,
            length,
            in_bytes: false,
        })
        .to_string()
    };
    let help = "\n   = help: guard the access, or make the array larger: a GPU may use any element instead, or none";
    assert_eq!(
        told(Space::Storage, Access::Read, 64, 64),
        format!(
            "out of bounds: `x` is read at index 64, but 64 elements are bound there{HERE}{help}"
        )
    );
    assert_eq!(
        told(Space::Uniform, Access::Read, 2, 1),
        format!("out of bounds: `x` is read at index 2, but 1 element is bound there{HERE}{help}")
    );
    assert_eq!(
        told(Space::Workgroup, Access::AtomicWrite, -1, 8),
        format!(
            "out of bounds: `x` is written atomically at index -1, but 8 elements are there{HERE}{help}"
        )
    );
}

#[test]
fn an_access_beyond_the_bytes_that_are_bound() {
    let problem = Problem::OutOfBounds {
        space: Space::Storage,
        variable: "x".to_owned(),
        access: Access::Write,
        index: 60,
        length: 64,
        in_bytes: true,
    };
    assert_eq!(
        one(problem).to_string(),
        format!(
            "out of bounds: `x` is written from byte 60 on, but 64 bytes are bound there{HERE}\n   = help: guard the \
             access, or make the array larger: a GPU may use any element instead, or none"
        )
    );
}

#[test]
fn an_element_of_a_value_without_a_name() {
    let problem = Problem::OutOfBounds {
        space: Space::Function,
        variable: "a value".to_owned(),
        access: Access::Read,
        index: 4,
        length: 4,
        in_bytes: false,
    };
    let told = one(problem).to_string();
    let title = "out of bounds: a value is read at index 4, but 4 elements are there\n";
    assert!(told.starts_with(title), "{told}");
}

#[test]
fn a_read_of_what_nobody_wrote() {
    let told = |space| {
        one(Problem::Unwritten {
            space,
            variable: "x".to_owned(),
            location: "x[1]".to_owned(),
            offset: 4,
        })
        .to_string()
    };
    assert_eq!(
        told(Space::Storage),
        format!(
            "unwritten: `x[1]` in storage is read, but nothing wrote it{HERE}\n   = help: write it first, or give the \
             buffer contents"
        )
    );
    assert_eq!(
        told(Space::Workgroup),
        format!(
            "unwritten: `x[1]` in workgroup memory is read, but nothing wrote it{HERE}\n   = help: write it first, and \
             put a workgroupBarrier() between if another invocation reads it"
        )
    );
}

#[test]
fn numbers_that_an_operation_has_no_result_for() {
    let told = |problem| one(problem).to_string();
    assert_eq!(
        told(Problem::Division),
        format!(
            "integer division by zero, or with a quotient that overflows{HERE}\n   = help: guard the divisor: in WGSL, \
             x / 0 = x and x % 0 = 0, also if the quotient overflows"
        )
    );
    assert_eq!(
        told(Problem::Shift { by: 33 }),
        format!(
            "shift by 33 of a number of 32 bits{HERE}\n   = help: guard the amount: WGSL shifts by the amount modulo \
             32, so a shift by 32 changes nothing"
        )
    );
    assert_eq!(
        told(Problem::Conversion {
            value: -1.5,
            to: "u32"
        }),
        format!(
            "conversion of -1.5 to u32, which cannot represent this number{HERE}\n   = help: clamp the number first: WGSL \
             takes the nearest number that both types have, and any number for NaN"
        )
    );
}

#[test]
fn a_loop_without_end() {
    let problem = Problem::Endless { budget: 1_000_000 };
    assert_eq!(
        one(problem).to_string(),
        format!(
            "endless: more than 1,000,000 loop iterations of one invocation{HERE}\n   = help: raise the budget if the \
             loop would end; an invocation may wait for another only at a barrier"
        )
    );
}

#[test]
fn a_result_that_depends_on_the_order() {
    let finding = Finding {
        problem: Problem::OrderDependent {
            buffer: 0,
            variable: "x".to_owned(),
            location: "x[3]".to_owned(),
            offset: 12,
            scalar: Scalar::F32,
            orders: [Order::Forward, Order::Random(7)],
            values: [1_065_353_216, 7],
        },
        side: None,
        other: None,
        times: 2,
        within_and_between: false,
    };
    assert_eq!(
        finding.to_string(),
        "order-dependent: `x[3]` is 1.0 after the order forward, 1e-44 after random:7
   = 2 orders differ from the first
   = help: no order is promised: let no result depend on which invocation comes first"
    );
}

#[test]
fn a_race_both_within_a_workgroup_and_between_two() {
    for (workgroups, also) in [
        (
            [[0; 3]; 2],
            "\n   = also between workgroups, which nothing orders\n",
        ),
        ([[1, 0, 0], [0; 3]], "\n   = also within a workgroup\n"),
    ] {
        let mut finding = race(Space::Storage, [Access::Read, Access::Write], workgroups);
        finding.within_and_between = true;
        let told = finding.to_string();
        assert!(told.contains(also), "{told}");
    }
}

/// No barrier can stand inside a statement, so the message does not suggest one between the two accesses.
#[test]
fn a_race_of_a_statement_with_itself() {
    let sides = [Access::Read, Access::Write];
    for space in [Space::Storage, Space::Workgroup] {
        let mut finding = race(space, sides, [[0; 3]; 2]);
        finding.side = side(7, "x", [0; 3], [1, 2, 3]);
        let told = finding.to_string();
        assert!(
            told.contains(": nothing orders the invocations here\n"),
            "{told}"
        );
        let help = "= help: give each invocation an element of its own, or use atomics; a barrier helps if a loop \
            repeats this statement";
        assert!(told.ends_with(help), "{told}");
    }
}

#[test]
fn the_calls_by_which_it_came_there() {
    let call = |line, text: &str| side(line, text, [0; 3], [0; 3]).map(|side| side.place);
    let mut finding = one(Problem::Division);
    if let Some(side) = &mut finding.side {
        side.calls = [call(12, "inner(i)"), call(20, "outer(i)")]
            .into_iter()
            .flatten()
            .collect();
    }
    let told = finding.to_string();
    let calls = "(0, 0, 1)\n   |  called at a.wgsl:12:5\n   |  called at a.wgsl:20:5\n";
    assert!(told.contains(calls), "{told}");
}

#[test]
fn a_report_ends_with_its_numbers() {
    let clean = Report {
        findings: Vec::new(),
        operations: 1,
        reached: vec![true],
    };
    assert_eq!(
        clean.to_string(),
        "clean; 1 operation; 1 block, all reached"
    );
    let finding = one(Problem::Division);
    let report = Report {
        findings: vec![finding.clone(), finding.clone()],
        operations: 12_345,
        reached: vec![true, false, false],
    };
    assert_eq!(
        report.to_string(),
        format!(
            "{finding}\n\n{finding}\n\n2 problems; 12,345 operations; 2 of 3 blocks never reached"
        )
    );
}

#[test]
fn a_block_with_its_place() {
    let place = side(7, "while (i < 8)", [0; 3], [0; 3]).map(|side| side.place);
    let blocks: Vec<Block> = place
        .into_iter()
        .map(|place| Block {
            place,
            what: "body of a loop",
        })
        .collect();
    assert_eq!(
        blocks[0].to_string(),
        "a.wgsl:7:5: body of a loop: while (i < 8)"
    );
}
