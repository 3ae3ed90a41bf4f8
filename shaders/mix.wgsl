// Moves parameters toward other parameters. If share is 1, own becomes exactly equal to other:
//
//   mix_in   own = own + share · (other − own)

struct Settings {
    elements: u32,
    share: f32,
}

@group(0) @binding(0) var<uniform> settings: Settings;
@group(0) @binding(1) var<storage, read> other: array<f32>;     // (elements)
@group(0) @binding(2) var<storage, read_write> own: array<f32>; // (elements)

@compute @workgroup_size(256)
fn mix_in(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
          @builtin(local_invocation_index) local: u32) {
    let first = (id.x + id.y * count.x) * 1024u + local;
    for (var j = 0u; j < 4u; j++) {
        let i = first + 256u * j;
        if (i < settings.elements) {
            let nearer = own[i] + settings.share * (other[i] - own[i]);
            own[i] = select(nearer, other[i], settings.share == 1.0);
        }
    }
}
