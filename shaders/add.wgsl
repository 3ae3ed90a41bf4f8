// Elementwise sums of two tensors, and sums of the gradients that reach a tensor by several paths.
//
//   add          y = a + b
//   accumulate   total = total + part      adds a further gradient
//   copy         total = part              stores the first of several gradients
//   scale        total = factor · total    turns a sum of gradients into their mean

struct Shape {
    elements: u32,
    factor: f32, // used by scale
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> a: array<f32>; // (elements), like all arrays here
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn add(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
       @builtin(local_invocation_index) local: u32) {
    let first = (id.x + id.y * count.x) * 1024u + local;
    for (var j = 0u; j < 4u; j++) {
        let i = first + 256u * j;
        if (i < shape.elements) {
            y[i] = a[i] + b[i];
        }
    }
}

@group(0) @binding(1) var<storage, read> part: array<f32>;
@group(0) @binding(2) var<storage, read_write> total: array<f32>;

@compute @workgroup_size(256)
fn accumulate(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
              @builtin(local_invocation_index) local: u32) {
    let first = (id.x + id.y * count.x) * 1024u + local;
    for (var j = 0u; j < 4u; j++) {
        let i = first + 256u * j;
        if (i < shape.elements) {
            total[i] = total[i] + part[i];
        }
    }
}

@compute @workgroup_size(256)
fn copy(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
        @builtin(local_invocation_index) local: u32) {
    let first = (id.x + id.y * count.x) * 1024u + local;
    for (var j = 0u; j < 4u; j++) {
        let i = first + 256u * j;
        if (i < shape.elements) {
            total[i] = part[i];
        }
    }
}

@group(0) @binding(1) var<storage, read_write> scaled: array<f32>;

@compute @workgroup_size(256)
fn scale(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
         @builtin(local_invocation_index) local: u32) {
    let first = (id.x + id.y * count.x) * 1024u + local;
    for (var j = 0u; j < 4u; j++) {
        let i = first + 256u * j;
        if (i < shape.elements) {
            scaled[i] = shape.factor * scaled[i];
        }
    }
}
