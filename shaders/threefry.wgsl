// Threefry-2x32 with 20 rounds: a random number generator that maps a counter and a key to 64 random bits. This file
// precedes shaders that draw random numbers. src/random.rs computes the same numbers in Rust.
// Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).

fn rotate_left(value: u32, bits: u32) -> u32 {
    return (value << bits) | (value >> (32u - bits));
}

fn four_rounds(start: vec2u, r: vec4u) -> vec2u {
    var x = start;
    for (var i = 0u; i < 4u; i++) {
        x.x += x.y;
        x.y = rotate_left(x.y, r[i]) ^ x.x;
    }
    return x;
}

fn threefry(key: vec2u, counter: vec2u) -> vec2u {
    let k = vec3u(key, 0x1bd11bdau ^ key.x ^ key.y);
    let even = vec4u(13u, 15u, 26u, 6u);
    let odd = vec4u(17u, 29u, 16u, 24u);
    var x = counter + k.xy;
    x = four_rounds(x, even) + k.yz + vec2u(0u, 1u);
    x = four_rounds(x, odd) + k.zx + vec2u(0u, 2u);
    x = four_rounds(x, even) + k.xy + vec2u(0u, 3u);
    x = four_rounds(x, odd) + k.yz + vec2u(0u, 4u);
    return four_rounds(x, even) + k.zx + vec2u(0u, 5u);
}

