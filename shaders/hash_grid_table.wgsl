// Two kernels for the table gradient of a multiresolution hash grid. Before hash_grid_scatter.wgsl, `measure` finds the
// largest |dy| of each level. After it, `finish` converts the sums to floats. hash_grid_unit.wgsl explains the method.

@group(0) @binding(1) var<storage, read> dy: array<f32>;                // (rows, levels, features)
@group(0) @binding(2) var<storage, read_write> found: array<u32>;       // (slots, levels): bits of the largest |dy|
@group(0) @binding(3) var<storage, read_write> low_zeros: array<u32>;   // (entries, features)
@group(0) @binding(4) var<storage, read_write> high_zeros: array<i32>;  // (entries, features)

var<workgroup> largest: array<atomic<u32>, 32>;

// Finds the largest |dy| of each level, and clears the sums. The bits of |dy| are compared as integers, because they
// have the same order as the numbers. An invocation handles only elements of one column of dy.
@compute @workgroup_size(256)
fn measure(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
           @builtin(local_invocation_index) local: u32) {
    let slot = shape.first + id.x + id.y * count.x;
    let is_slot = slot < shape.slots;
    let taken = 256u / shape.columns * shape.columns;
    if (local < shape.levels) {
        atomicStore(&largest[local], 0u);
    }
    workgroupBarrier();
    var bits = 0u;
    let end = select(0u, shape.rows * shape.columns, is_slot & (local < taken));
    for (var i = slot * taken + local; i < end; i += shape.slots * taken) {
        bits = max(bits, bitcast<u32>(dy[i]) & 0x7fffffffu);
    }
    atomicMax(&largest[local % shape.columns / features], bits);
    workgroupBarrier();
    if (is_slot & (local < shape.levels)) {
        found[slot * shape.levels + local] = atomicLoad(&largest[local]);
    }
    let cleared = select(0u, shape.numbers, is_slot);
    for (var i = slot * 256u + local; i < cleared; i += shape.slots * 256u) {
        low_zeros[i] = ZERO;
        high_zeros[i] = 0;
    }
}

@group(0) @binding(1) var<storage, read> of_levels: array<u32>;           // (1, levels): bits of the largest |dy|
@group(0) @binding(2) var<storage, read> low_sums: array<u32>;            // (entries, features)
@group(0) @binding(3) var<storage, read> high_sums: array<i32>;           // (entries, features)
@group(0) @binding(4) var<storage, read_write> dtable: array<f32>;        // (entries, features)

// Returns unit · sum. The sum has up to 62 bits, and is rounded only once to the 24 bits of a float, with halves away
// from 0.
fn value_of(low: u32, high: i32, unit: i32) -> f32 {
    var words = vec2u(low - ZERO, bitcast<u32>(high - i32(low < ZERO)));
    let is_negative = words.y >= ZERO;
    if (is_negative) {
        words = ~words;
        words.x += 1u;
        words.y += u32(words.x == 0u);
    }
    // Take the leading 32 bits of the magnitude, which is below 2⁶³, and round them to the leading 24 bits.
    let cut = 32u - countLeadingZeros(words.y);
    let word = ((words.y << 1u) << (31u - cut)) + (words.x >> cut);
    let places = 8u - min(8u, countLeadingZeros(word));
    let rounded = (word >> places) + (((word << 1u) >> places) & 1u);
    let value = f32(rounded) * power_of_two(i32(places + cut)) * power_of_two(unit);
    return select(value, -value, is_negative);
}

@compute @workgroup_size(256)
fn finish(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
          @builtin(local_invocation_index) local: u32) {
    let first = (shape.first + id.x + id.y * count.x) * 1024u + local;
    var not_a_number = 0x7fc00000u;
    var index = 0u;
    for (var j = 0u; j < 4u; j++) {
        let i = first + 256u * j;
        if (i < shape.numbers) {
            while (index + 1u < shape.levels && i / features >= shape.of_level[index + 1u].x) {
                index++;
            }
            let bits = of_levels[index];
            let value = value_of(low_sums[i], high_sums[i], unit_of(bits));
            dtable[i] = select(value, bitcast<f32>(not_a_number), bits >= INFINITE);
        }
    }
}
