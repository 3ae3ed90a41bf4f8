//! Branches, loops and switches.

use super::{Expected, check, signed};

#[test]
fn a_switch_with_its_default_in_the_middle() {
    let text = "
        fn chosen(value: u32) -> u32 {
            var result = 7u;
            switch value {
                case 1u: { result = 10u; }
                case 2u, 3u: { result = 20u; break; }
                default: { result = 30u; }
                case 5u: { if (x[0] == 0u) { break; } result = 50u; }
                case 6u, 7u: { return 60u; }
            }
            return result + 1u;
        }
        @compute @workgroup_size(1) fn main() {
            for (var value = 0u; value < 9u; value++) { u(chosen(value)); }
        }";
    let of = |value: u32| match value {
        1 => 11,
        2 | 3 => 21,
        5 => 51,
        6 | 7 => 60,
        _ => 31,
    };
    let told: Vec<u32> = (0..9).map(of).collect();
    check(text, &[1], &Expected::default().u(&told));
}

#[test]
fn a_switch_by_signed_numbers_with_default_among_cases() {
    let text = "
        @compute @workgroup_size(1) fn main() {
            for (var at = 0u; at < 5u; at++) {
                switch xi(at) {
                    case -1, default: { i(-100); }
                    case -2147483648: { i(5); }
                    case 0: { i(0); }
                }
            }
        }";
    let x = signed(&[-1, i32::MIN, 0, 1, i32::MAX]);
    check(text, &x, &Expected::default().i(&[-100, 5, 0, -100, -100]));
}

#[test]
fn a_switch_in_a_loop_continues_it() {
    let text = "
        @compute @workgroup_size(1) fn main() {
            for (var at = 0u; at < 6u; at++) {
                switch at {
                    case 1u, 4u: { continue; }
                    case 2u: { break; }
                    default: { u(100u + at); }
                }
                u(at);
            }
        }";
    check(
        text,
        &[],
        &Expected::default().u(&[100, 0, 2, 103, 3, 105, 5]),
    );
}

#[test]
fn a_loop_with_continuing_and_break_if() {
    let text = "
        @compute @workgroup_size(1) fn main() {
            var at = 0u;
            var sum = 0u;
            loop {
                if (at % 3u == 1u) { continue; }
                sum += at;
                u(sum);
                continuing {
                    at += 1u;
                    let next = at * 2u;
                    sum += 1000u;
                    break if next >= x[0];
                }
            }
            u(at);
            u(sum);
        }";
    let mut at = 0;
    let mut sum = 0;
    let mut told = Vec::new();
    loop {
        if at % 3 != 1 {
            sum += at;
            told.push(sum);
        }
        at += 1;
        sum += 1000;
        if at * 2 >= 16 {
            break;
        }
    }
    told.extend([at, sum]);
    check(text, &[16], &Expected::default().u(&told));
}

#[test]
fn nested_loops_with_breaks_and_continues() {
    let text = "
        @compute @workgroup_size(1) fn main() {
            var outer = 0u;
            while (outer < 5u) {
                outer++;
                if (outer == 2u) { continue; }
                for (var inner = outer; ; inner += 2u) {
                    if (inner > 9u) { break; }
                    if (inner % 4u == 3u) { continue; }
                    u(10u * outer + inner);
                    if (inner == 8u) { break; }
                }
                if (outer == 4u) { break; }
            }
            u(outer);
        }";
    let mut told = Vec::new();
    let mut outer = 0;
    while outer < 5 {
        outer += 1;
        if outer == 2 {
            continue;
        }
        for inner in (outer..=9).step_by(2) {
            if inner % 4 == 3 {
                continue;
            }
            told.push(10 * outer + inner);
            if inner == 8 {
                break;
            }
        }
        if outer == 4 {
            break;
        }
    }
    told.push(outer);
    check(text, &[], &Expected::default().u(&told));
}

#[test]
fn else_if_chains() {
    let text = "
        @compute @workgroup_size(1) fn main() {
            for (var at = 0u; at < 5u; at++) {
                var kind = 9u;
                if (x[at] < 10u) { kind = 0u; }
                else if (x[at] < 20u) { kind = 1u; }
                else if (x[at] < 30u) { if (x[at] == 25u) { kind = 5u; } }
                else { kind = 3u; }
                u(kind);
            }
        }";
    check(
        text,
        &[3, 19, 25, 26, 40],
        &Expected::default().u(&[0, 1, 5, 9, 3]),
    );
}

#[test]
fn logic_that_leaves_out_its_right_side() {
    let text = "
        fn told_true(value: u32) -> bool { u(value); return true; }
        @compute @workgroup_size(1) fn main() {
            if (x[0] == 0u || 12u / x[0] > 1u) { u(1u); }
            if (x[0] != 0u && 12u % x[0] == 0u) { u(2u); }
            b(x[1] == 5u && told_true(3u));
            b(x[1] == 5u || told_true(4u));
            b(x[1] != 5u && told_true(5u));
            b((x[1] != 5u) | told_true(6u));
            b((x[1] != 5u) & told_true(7u));
        }";
    check(
        text,
        &[0, 5],
        &Expected::default().u(&[1, 3, 1, 1, 0, 6, 1, 7, 0]),
    );
}

#[test]
fn variables_of_a_loop_begin_anew() {
    let text = "
        @compute @workgroup_size(1) fn main() {
            for (var at = 0u; at < 3u; at++) {
                var count: u32;
                var pair: vec2u;
                var three = array<u32, 3>();
                var given = x[at];
                count += 1u; pair.y += 2u; three[at] += 3u; given += 4u;
                u(count); u(pair.x + pair.y); u(three[0] + three[1] + three[2]); u(given);
            }
        }";
    let told = [1, 2, 3, 14, 1, 2, 3, 24, 1, 2, 3, 34];
    check(text, &[10, 20, 30], &Expected::default().u(&told));
}

#[test]
fn shadowing() {
    let text = "
        const a = 1u;
        @compute @workgroup_size(1) fn main() {
            u(a);
            let a = a + 1u;
            u(a);
            {
                var a = a * 10u;
                a += 5u;
                u(a);
                for (var a = 0u; a < 2u; a++) { let a = a + 100u; u(a); }
                u(a);
            }
            u(a);
        }";
    check(
        text,
        &[],
        &Expected::default().u(&[1, 2, 25, 100, 101, 25, 2]),
    );
}

#[test]
fn values_are_those_of_the_moment() {
    let text = "
        @compute @workgroup_size(1) fn main() {
            var value = x[0];
            let before = value;
            let both = value + x[1];
            value = 100u;
            u(before); u(both); u(value);
            for (var at = 0u; at < 2u; at++) {
                let old = value;
                value = old * 2u + at;
                u(old);
            }
            u(value);
            out[told] = x[0]; told++;
            let was = out[0];
            u(was);
        }";
    check(
        text,
        &[7, 8],
        &Expected::default().u(&[7, 15, 100, 100, 200, 401, 7, 7]),
    );
}
