//! Measures the interpreter's operations per second on one core: a matrix product, a reduction, and an elementwise
//! kernel.

use std::time::Instant;

use wgsl_sanitizer::{Buffer, Dispatch, Error, Order, Settings, Shader, sanitize};

const SHADERS: &str = "
    @group(0) @binding(0) var<storage, read> a: array<f32>;
    @group(0) @binding(1) var<storage, read> b: array<f32>;
    @group(0) @binding(2) var<storage, read_write> c: array<f32>;

    const size = 128u;
    var<workgroup> tile_a: array<array<f32, 16>, 16>;
    var<workgroup> tile_b: array<array<f32, 16>, 16>;
    var<workgroup> sums: array<f32, 256>;

    // c = a · b, by tiles in workgroup memory.
    @compute @workgroup_size(16, 16)
    fn product(@builtin(global_invocation_id) global: vec3u, @builtin(local_invocation_id) local: vec3u) {
        var sum = 0.0;
        for (var block = 0u; block < size; block += 16u) {
            tile_a[local.y][local.x] = a[global.y * size + block + local.x];
            tile_b[local.y][local.x] = b[(block + local.y) * size + global.x];
            workgroupBarrier();
            for (var k = 0u; k < 16u; k++) {
                sum = fma(tile_a[local.y][k], tile_b[k][local.x], sum);
            }
            workgroupBarrier();
        }
        c[global.y * size + global.x] = sum;
    }

    // The sum of each 256 elements of a, as a tree.
    @compute @workgroup_size(256)
    fn reduction(
        @builtin(local_invocation_index) i: u32,
        @builtin(global_invocation_id) global: vec3u,
        @builtin(workgroup_id) group: vec3u,
    ) {
        sums[i] = a[global.x];
        for (var half = 128u; half > 0u; half /= 2u) {
            workgroupBarrier();
            if (i < half) {
                sums[i] += sums[i + half];
            }
        }
        if (i == 0u) {
            c[group.x] = sums[0];
        }
    }

    // c = a · sigmoid(1.702 · a) + b.
    @compute @workgroup_size(256)
    fn elements(@builtin(global_invocation_id) global: vec3u) {
        let i = global.x;
        if (i >= arrayLength(&c)) {
            return;
        }
        c[i] = a[i] / (1.0 + exp(-1.702 * a[i])) + b[i];
    }";

fn main() -> Result<(), Error> {
    let shader = Shader::parse("speed.wgsl", SHADERS)?;
    let count = 1 << 20;
    println!("kernel      operations   seconds   operations/s");
    for (entry, workgroups, elements) in [
        ("product", [8, 8, 1], 128 * 128),
        ("reduction", [4096, 1, 1], count),
        ("elements", [4096, 1, 1], count),
    ] {
        let kernel = shader.kernel(entry, &[])?;
        // The numbers are 1, 1/2, 1/3, …
        #[allow(clippy::cast_precision_loss)]
        let numbers: Vec<f32> = (0..elements)
            .map(|index| 1.0 / (index + 1) as f32)
            .collect();
        let mut buffers = [
            Buffer::from_f32s(&numbers),
            Buffer::from_f32s(&numbers),
            Buffer::unwritten(elements),
        ];
        let mut dispatch = Dispatch::new(workgroups);
        for binding in kernel.bindings() {
            dispatch = dispatch.bind(0, binding.binding, binding.binding as usize);
        }
        let settings = Settings::default().orders([Order::Forward]);
        let start = Instant::now();
        let report = sanitize(&kernel, &dispatch, &mut buffers, &settings)?;
        let seconds = start.elapsed().as_secs_f64();
        assert!(report.is_clean(), "{report}");
        #[allow(clippy::cast_precision_loss)]
        let rate = report.operations as f64 / seconds / 1e6;
        println!(
            "{entry:<10} {:>11} {seconds:>9.2} {rate:>8.0} million",
            report.operations
        );
    }
    Ok(())
}
