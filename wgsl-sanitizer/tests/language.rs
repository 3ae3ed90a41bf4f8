//! Kernels that together use each construct of the language. Their results must equal the results of the same
//! computation in Rust.

mod language {
    mod control;
    mod data;
    mod functions;
    mod numbers;
    mod shared;
    mod vectors;

    use wgsl_sanitizer::{Buffer, Dispatch, Settings, Shader, sanitize};

    /// The text before each kernel: its bindings, and functions such as `u` and `f4` that append results to `out`.
    const BEFORE: &str = "
        @group(0) @binding(0) var<storage, read> x: array<u32>;
        @group(0) @binding(1) var<storage, read_write> out: array<u32>;
        var<private> told: u32;
        fn xi(at: u32) -> i32 { return bitcast<i32>(x[at]); }
        fn xf(at: u32) -> f32 { return bitcast<f32>(x[at]); }
        fn u(value: u32) { out[told] = value; told++; }
        fn i(value: i32) { u(bitcast<u32>(value)); }
        fn f(value: f32) { u(bitcast<u32>(value)); }
        fn b(value: bool) { u(select(0u, 1u, value)); }
        fn f2(value: vec2f) { f(value.x); f(value.y); }
        fn f3(value: vec3f) { f2(value.xy); f(value.z); }
        fn f4(value: vec4f) { f2(value.xy); f2(value.zw); }
        fn u4(value: vec4u) { u(value.x); u(value.y); u(value.z); u(value.w); }
        ";

    /// The expected results, as bits.
    #[derive(Default)]
    pub(crate) struct Expected(Vec<u32>);

    impl Expected {
        pub(crate) fn u(mut self, values: &[u32]) -> Self {
            self.0.extend(values);
            self
        }

        pub(crate) fn i(mut self, values: &[i32]) -> Self {
            self.0
                .extend(values.iter().map(|value| value.cast_unsigned()));
            self
        }

        pub(crate) fn f(mut self, values: &[f32]) -> Self {
            self.0.extend(values.iter().map(|value| value.to_bits()));
            self
        }

        pub(crate) fn b(mut self, values: &[bool]) -> Self {
            self.0.extend(values.iter().map(|&value| u32::from(value)));
            self
        }
    }

    pub(crate) fn floats(values: &[f32]) -> Vec<u32> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    pub(crate) fn signed(values: &[i32]) -> Vec<u32> {
        values.iter().map(|value| value.cast_unsigned()).collect()
    }

    /// Runs `main` of the shader `text` with these words in `x`. The results must equal the expected ones, and there
    /// must be no findings.
    pub(crate) fn check(text: &str, x: &[u32], told: &Expected) {
        let source = match text.trim_start().strip_prefix("enable f16;") {
            Some(rest) => format!("enable f16;{BEFORE}{rest}"),
            None => format!("{BEFORE}{text}"),
        };
        let x = Buffer::from_u32s(if x.is_empty() { &[0] } else { x });
        let mut buffers = [x, Buffer::unwritten(told.0.len())];
        let dispatch = Dispatch::new([1, 1, 1]).bind(0, 0, 0).bind(0, 1, 1);
        let shader = Shader::parse("test.wgsl", &source).unwrap_or_else(|error| panic!("{error}"));
        let kernel = shader
            .kernel("main", &[])
            .unwrap_or_else(|error| panic!("{error}"));
        let is_used = |binding: u32| kernel.bindings().iter().any(|used| used.binding == binding);
        assert!(is_used(1), "it tells nothing");
        let report = sanitize(&kernel, &dispatch, &mut buffers, &Settings::default());
        let report = report.unwrap_or_else(|error| panic!("{error}"));
        assert!(report.is_clean(), "{report}");
        let found = buffers[1].u32s();
        let as_floats = |words: &[u32]| {
            words
                .iter()
                .map(|&word| f32::from_bits(word))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            found,
            told.0,
            "as floats {:?} and {:?}",
            as_floats(found),
            as_floats(&told.0)
        );
    }
}
