// Real spherical harmonics of a direction v = (x, y, z). They are polynomials in x, y and z; 2l + 1 of them have the
// degree l.
//
//   forward    y[r,i] = N(l,|m|) · Π(l,|m|)(z) · C_m(x,y)     with i = l² + l + m and m from −l to l
//   backward   dx[r]  = Σ_i dy[r,i] · ∇y[r,i]
//
//   Π(l,m)(z) = the m-th derivative of Legendre's polynomial P_l
//   C_m(x,y)  = Re (x + iy)^m if m ≥ 0, else Im (x + iy)^|m|
//   N(l,m)    = (−1)^m · √((2l+1)/4π · (l−m)!/(l+m)!), times √2 if m > 0
//
// The derivatives are
//
//   ∂Π(l,m)/∂z = Π(l,m+1),   ∂(x + iy)^m/∂x = m·(x + iy)^(m−1),   ∂(x + iy)^m/∂y = i·m·(x + iy)^(m−1)
//
// Π is computed by the recurrence
//
//   Π(m,m) = 1·3·5…(2m−1),   (l−m)·Π(l,m) = (2l−1)·z·Π(l−1,m) − (l+m−1)·Π(l−2,m)

struct Shape {
    rows: u32,
    degrees: u32, // l < degrees; a row has degrees² outputs
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<f32>;       // (rows, 3), in both passes
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // (rows, degrees²)

// N(l,m) at index l·(l+1)/2 + m.
const NORMS = array<f32, 36>(
    0.282094792,
    0.488602512, -0.488602512,
    0.630783131, -0.36418281, 0.182091405,
    0.746352665, -0.3046972, 0.0963537148, -0.0393362393,
    0.846284375, -0.267618617, 0.0630783131, -0.0168583883, 0.00596034034,
    0.93560258, -0.241571547, 0.0456527313, -0.00931882475, 0.00219646806, -0.000694584187,
    1.01710724, -0.221950995, 0.0350935337, -0.00584892228, 0.00106786222, -0.000227668991, 6.57223766e-05,
    1.09254843, -0.206472246, 0.0280973138, -0.00397356023, 0.000599036743, -9.98394572e-05, 1.95801285e-05, -5.23300945e-06,
);

struct Place {
    l: u32,
    m: u32, // |m|
    is_imaginary: bool,
}

fn place_of(i: u32) -> Place {
    var l = 0u;
    while ((l + 1u) * (l + 1u) <= i) {
        l++;
    }
    let middle = l * l + l;
    return Place(l, select(i - middle, middle - i, i < middle), i < middle);
}

fn norm(place: Place) -> f32 {
    var norms = NORMS;
    return norms[place.l * (place.l + 1u) / 2u + place.m];
}

// Returns Π(l,m)(z), which is 0 for m > l.
fn legendre(l: u32, m: u32, z: f32) -> f32 {
    var before = 0.0;
    var value = select(1.0, 0.0, m > l);
    for (var k = 1u; k <= m; k++) {
        value *= f32(2u * k - 1u);
    }
    for (var k = m + 1u; k <= l; k++) {
        let next = (f32(2u * k - 1u) * z * value - f32(k + m - 1u) * before) / f32(k - m);
        before = value;
        value = next;
    }
    return value;
}

// Returns (x + iy)^m as (real part, imaginary part).
fn power(v: vec2f, m: u32) -> vec2f {
    var value = vec2f(1.0, 0.0);
    for (var k = 0u; k < m; k++) {
        value = vec2f(value.x * v.x - value.y * v.y, value.x * v.y + value.y * v.x);
    }
    return value;
}

fn part(value: vec2f, is_imaginary: bool) -> f32 {
    return select(value.x, value.y, is_imaginary);
}

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
           @builtin(local_invocation_index) local: u32) {
    let outputs = shape.degrees * shape.degrees;
    let first = (id.x + id.y * count.x) * 1024u + local;
    for (var j = 0u; j < 4u; j++) {
        let i = first + 256u * j;
        if (i < shape.rows * outputs) {
            let place = place_of(i % outputs);
            let at = 3u * (i / outputs);
            let around = part(power(vec2f(x[at], x[at + 1u]), place.m), place.is_imaginary);
            y[i] = norm(place) * legendre(place.l, place.m, x[at + 2u]) * around;
        }
    }
}

@group(0) @binding(2) var<storage, read> dy: array<f32>;       // (rows, degrees²)
@group(0) @binding(3) var<storage, read_write> dx: array<f32>; // (rows, 3)

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
            @builtin(local_invocation_index) local: u32) {
    let row = (id.x + id.y * count.x) * 256u + local;
    if (row >= shape.rows) {
        return;
    }
    let outputs = shape.degrees * shape.degrees;
    let v = vec3f(x[3u * row], x[3u * row + 1u], x[3u * row + 2u]);
    var sum = vec3f(0.0);
    for (var i = 0u; i < outputs; i++) {
        let place = place_of(i);
        let along = legendre(place.l, place.m, v.z);
        let slope = legendre(place.l, place.m + 1u, v.z);
        let around = part(power(v.xy, place.m), place.is_imaginary);
        // If m is 0, the output does not depend on x and y, and `below` is 0.
        let below = f32(place.m) * power(v.xy, max(place.m, 1u) - 1u);
        let by_x = part(below, place.is_imaginary);
        let by_y = part(vec2f(-below.y, below.x), place.is_imaginary);
        let of_output = norm(place) * dy[row * outputs + i];
        sum += of_output * vec3f(along * by_x, along * by_y, slope * around);
    }
    dx[3u * row] = sum.x;
    dx[3u * row + 1u] = sum.y;
    dx[3u * row + 2u] = sum.z;
}
