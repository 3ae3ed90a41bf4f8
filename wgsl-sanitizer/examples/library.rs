//! Interprets a kernel with buffers, and shows its findings and its results.

use wgsl_sanitizer::{Buffer, Dispatch, Problem, Settings, Shader, sanitize};

fn main() -> Result<(), wgsl_sanitizer::Error> {
    let shader = Shader::parse(
        "neighbours.wgsl",
        "@group(0) @binding(0) var<storage, read> x: array<f32>;
         @group(0) @binding(1) var<storage, read_write> y: array<f32>;
         @compute @workgroup_size(8)
         fn sums(@builtin(global_invocation_id) id: vec3u) {
             y[id.x] = x[id.x] + x[id.x + 1];
         }",
    )?;
    let kernel = shader.kernel("sums", &[])?;
    let mut buffers = [Buffer::from_f32s(&[1.0; 16]), Buffer::unwritten(16)];
    let dispatch = Dispatch::new([2, 1, 1]).bind(0, 0, 0).bind(0, 1, 1);
    let report = sanitize(&kernel, &dispatch, &mut buffers, &Settings::default())?;

    let finding = &report.findings[0];
    assert!(matches!(
        finding.problem,
        Problem::OutOfBounds { index: 16, .. }
    ));
    println!("{finding}");
    assert_eq!(buffers[1].f32s()[..15], [2.0; 15]);
    Ok(())
}
