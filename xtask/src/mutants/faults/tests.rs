use super::*;

/// Returns the changed lines for all faults of a kind in a function with this body.
fn changed(kind: Kind, body: &str) -> Vec<String> {
    let text = format!("fn f(@builtin(workgroup_id) id: vec3u) {{\n{body}\n}}\n");
    let faults = faults("s", &text).into_iter();
    let faults = faults.filter(|fault| fault.kind == kind && fault.function == "f");
    faults.map(|fault| fault.after).collect()
}

#[test]
fn each_barrier_is_missing_once() {
    let text = "a = 1u;\nworkgroupBarrier();\nif (c) {\nstorageBarrier();\n}";
    assert_eq!(changed(Kind::Barrier, text), ["", ""]);
    assert_eq!(
        changed(Kind::Barrier, "f(); // workgroupBarrier();"),
        [""; 0]
    );
}

#[test]
fn comparisons_are_off_by_one_or_reversed() {
    let text = "let a = b < c;\nlet d = (e <= g) == (h > i);\nlet j = k >= l;\nlet m = n != o;";
    let expected = [
        "let a = b <= c;",
        "let d = (e < g) == (h > i);",
        "let d = (e <= g) != (h > i);",
        "let d = (e <= g) == (h >= i);",
        "let j = k > l;",
        "let m = n == o;",
    ];
    assert_eq!(changed(Kind::Comparison, text), expected);
    let types = "var a: array<vec2<f32>, b>; let c = vec4<bool>(d);";
    assert_eq!(changed(Kind::Comparison, types), [""; 0]);
}

#[test]
fn operators_of_numbers() {
    let expected = [
        "let a = b - c + d / e % g - h;",
        "let a = b + c - d / e % g - h;",
        "let a = b + c + d * e % g - h;",
        "let a = b + c + d / e / g - h;",
        "let a = b + c + d / e % g + h;",
    ];
    let found = changed(Kind::Arithmetic, "let a = b + c + d / e % g - h;");
    assert_eq!(found, expected);
    assert_eq!(
        changed(Kind::Arithmetic, "a = -b * (*c);"),
        ["a = b * (*c);", "a = -b + (*c);",]
    );
}

#[test]
fn operators_of_conditions_and_bits() {
    let found = changed(Kind::Logic, "let a = !b && c || d;");
    let expected = [
        "let a = b && c || d;",
        "let a = !b || c || d;",
        "let a = !b && c && d;",
    ];
    assert_eq!(found, expected);
    let found = changed(Kind::Bits, "let a = ((b << c) >> d) & e | (g ^ h);");
    let expected = [
        "let a = ((b >> c) >> d) & e | (g ^ h);",
        "let a = ((b << c) << d) & e | (g ^ h);",
        "let a = ((b << c) >> d) | e | (g ^ h);",
        "let a = ((b << c) >> d) & e & (g ^ h);",
        "let a = ((b << c) >> d) & e | (g & h);",
    ];
    assert_eq!(found, expected);
    assert_eq!(changed(Kind::Bits, "let a = &b;\nf(&c, &d);"), [""; 0]);
}

#[test]
fn numbers_are_one_more_and_one_less() {
    let found = changed(Kind::Integer, "let a = 7u;\nlet b = 0;\nlet c = 0x0fu;");
    let expected = [
        "let a = 8u;",
        "let a = 6u;",
        "let b = 1;",
        "let c = 0x10u;",
        "let c = 0x0eu;",
    ];
    assert_eq!(found, expected);
    assert_eq!(
        changed(Kind::Integer, "let a = 0xffffffffu;"),
        ["let a = 0xfffffffeu;"]
    );
    let found = changed(Kind::Float, "let a = 0.27 + 0.0f - 1e-6;");
    let expected = [
        "let a = 0.54 + 0.0f - 1e-6;",
        "let a = 0.27 + 1.0f - 1e-6;",
        "let a = 0.27 + 0.0f - 2e-6;",
    ];
    assert_eq!(found, expected);
}

#[test]
fn constants_are_a_kind_of_their_own_and_attributes_are_left_alone() {
    let text = "const A = 3u;\nconst B = 1.5 * 2.0;\n@group(0) @binding(1) var<uniform> c: array<u32, 4>;\n\
        @compute @workgroup_size(64)\nfn f() {}\n";
    let found = faults("s", text).into_iter();
    let found: Vec<_> = found.map(|fault| (fault.kind, fault.after)).collect();
    let array = "@group(0) @binding(1) var<uniform> c: array<u32,";
    let expected = [
        (Kind::Constant, "const A = 4u;".to_owned()),
        (Kind::Constant, "const A = 2u;".to_owned()),
        (Kind::Constant, "const B = 3.0 * 2.0;".to_owned()),
        (Kind::Arithmetic, "const B = 1.5 + 2.0;".to_owned()),
        (Kind::Constant, "const B = 1.5 * 4.0;".to_owned()),
        (Kind::Integer, format!("{array} 5>;")),
        (Kind::Integer, format!("{array} 3>;")),
    ];
    assert_eq!(found, expected);
}

#[test]
fn functions_are_others() {
    let found = changed(
        Kind::Function,
        "let a = min(b, exp(-abs(c)));\nlet min = d.max;",
    );
    let expected = [
        "let a = max(b, exp(-abs(c)));",
        "let a = min(b, exp2(-abs(c)));",
        "let a = min(b, exp(-(c)));",
    ];
    assert_eq!(found, expected);
}

#[test]
fn statements_are_missing() {
    let text = "var a = 1u;\na += 2u;\n(*b)[i] = c;\ng(a, h(b));\nfor (var i = 0u; i < 4u; i++) {\ncontinue;\n}\n\
        if (c) { return; }\nlet d = g(a);\na++;\n_ = d;";
    let found = faults("s", &format!("fn f() {{\n{text}\n}}\n")).into_iter();
    let found = found.filter(|fault| fault.kind == Kind::Statement);
    let found: Vec<_> = found.map(|fault| (fault.before, fault.after)).collect();
    let expected = [
        ("a += 2u;", ""),
        ("(*b)[i] = c;", ""),
        ("g(a, h(b));", ""),
        ("continue;", ""),
        ("if (c) { return; }", "if (c) {  }"),
        ("a++;", ""),
    ];
    let expected = expected.map(|(before, after)| (before.to_owned(), after.to_owned()));
    assert_eq!(found, expected);
}

#[test]
fn a_statement_of_two_lines_is_one() {
    let found = faults("s", "fn f() {\n    a[i] =\n        b;\n}\n").into_iter();
    let found = found.filter(|fault| fault.kind == Kind::Statement);
    let found: Vec<_> = found
        .map(|fault| (fault.line, fault.before, fault.after))
        .collect();
    assert_eq!(found, [(2, "a[i] = b;".to_owned(), String::new())]);
}

#[test]
fn indices_are_one_further_on() {
    let found = changed(Kind::Index, "let a = b[i] + c[d[j] << 2u];\nlet e = g[0];");
    let expected = [
        "let a = b[i + 1] + c[d[j] << 2u];",
        "let a = b[i] + c[(d[j] << 2u) + 1];",
        "let a = b[i] + c[d[j + 1] << 2u];",
    ];
    assert_eq!(found, expected);
}

#[test]
fn assignments_add_and_no_longer_add() {
    let text =
        "let a = 0u;\nb = c;\nd += e;\nfor (var i = 0u; i < n; i += 2u) { g -= h; }\nk++;\n_ = l;";
    let expected = [
        "b += c;",
        "d = e;",
        "for (var i = 0u; i < n; i = 2u) { g -= h; }",
        "for (var i = 0u; i < n; i += 2u) { g += h; }",
        "k--;",
    ];
    assert_eq!(changed(Kind::Assignment, text), expected);
}

#[test]
fn values_of_a_select_change_places() {
    let found = changed(Kind::Select, "let a = select(vec2<f32>(b, c), g(d, e), h);");
    assert_eq!(found, ["let a = select(g(d, e), vec2<f32>(b, c), h);"]);
}

#[test]
fn components_of_builtins_alone_are_others() {
    let found = changed(Kind::Component, "let a = id.x + b.x * id.y;");
    assert_eq!(
        found,
        ["let a = id.y + b.x * id.y;", "let a = id.x + b.x * id.x;"]
    );
}

#[test]
fn a_fault_is_planted_where_it_is() {
    let text = "fn f() {\n    a = b[i];\n}\n";
    let found = faults("s", text).into_iter();
    let texts: Vec<_> = found.map(|fault| fault.planted_in(text)).collect();
    let expected = ["\n    \n", "\n    a += b[i];\n", "\n    a = b[i + 1];\n"];
    assert_eq!(texts, expected.map(|body| format!("fn f() {{{body}}}\n")));
}

#[test]
fn an_id_stays_when_other_lines_come() {
    let line = "fn f() {\n    a = b < c;\n    a = b < c;\n}\n";
    let other = "fn g() {\n    a = d;\n}\n";
    let ids = |text: &str| -> Vec<String> {
        let faults = faults("s", text).into_iter();
        let faults = faults.filter(|fault| fault.function == "f");
        faults.map(|fault| fault.id).collect()
    };
    let alone = ids(line);
    // Two identical lines have two sets of faults.
    assert_eq!(alone.iter().collect::<HashSet<_>>().len(), 6);
    assert_eq!(ids(&format!("// A comment.\n{other}\n{line}")), alone);
}

#[test]
fn the_shaders_of_the_crate_have_faults_of_every_kind_each_with_an_id_of_its_own() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shaders");
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        let path = entry.path();
        let name = path.file_stem().and_then(|name| name.to_str());
        all.extend(faults(name.unwrap_or_default(), &text));
    }
    for kind in Kind::ALL {
        assert!(
            all.iter().any(|fault| fault.kind == kind),
            "{}",
            kind.name()
        );
    }
    let ids: HashSet<_> = all.iter().map(|fault| &fault.id).collect();
    assert_eq!(ids.len(), all.len());
    assert!(all.iter().all(|fault| fault.before != fault.after));
}
