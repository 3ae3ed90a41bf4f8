// Atomic accesses: among each other they never race, and they order nothing else (WGSL's atomics are relaxed).

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@group(0) @binding(2) var<storage, read_write> count: atomic<u32>;
@group(0) @binding(3) var<storage, read_write> counts: array<atomic<i32>>;
@group(0) @binding(4) var<storage, read_write> plain: array<i32>;
@group(0) @binding(5) var<storage, read> plain_read: array<i32>;
@group(0) @binding(6) var<storage, read_write> flag: atomic<u32>;

var<workgroup> bins: array<atomic<u32>, 16>;
var<workgroup> ready: atomic<u32>;
var<workgroup> message: u32;

//# counting workgroups=4
@compute @workgroup_size(64)
fn counting() {
    atomicAdd(&count, 1u);
}

//# all_operations workgroups=2
@compute @workgroup_size(64)
fn all_operations(@builtin(local_invocation_index) i: u32) {
    atomicMax(&counts[0], i32(i));
    atomicMin(&counts[1], -i32(i));
    atomicAnd(&counts[2], ~(1i << (i % 8)));
    atomicOr(&counts[3], 1i << (i % 8));
    atomicAdd(&counts[4], 3);
    atomicSub(&counts[5], 1);
    atomicXor(&counts[6], 1i << (i % 8));
}

// Who comes first gets 0: the numbers are others after another order, which a GPU may choose, too.
//# append order=y
@compute @workgroup_size(64)
fn append(@builtin(local_invocation_index) i: u32) {
    let at = atomicAdd(&count, 1u);
    y[at % 64] = x[i];
}

//# append_by_groups workgroups=2 count=zeros:1 y=128 order=y
@compute @workgroup_size(64)
fn append_by_groups(@builtin(global_invocation_id) global: vec3u) {
    let at = atomicAdd(&count, 1u);
    y[at] = global.x;
}

//# histogram workgroups=4 x=256 counts=zeros:16
@compute @workgroup_size(64)
fn histogram(
    @builtin(local_invocation_index) i: u32,
    @builtin(global_invocation_id) global: vec3u,
) {
    atomicAdd(&bins[x[global.x] % 16], 1u);
    workgroupBarrier();
    if (i < 16) {
        atomicAdd(&counts[i], i32(atomicLoad(&bins[i])));
    }
}

// Atomic accesses do not race, and yet it matters whether all have counted.
//# histogram_without_barrier order=y
@compute @workgroup_size(64)
fn histogram_without_barrier(@builtin(local_invocation_index) i: u32) {
    atomicAdd(&bins[(x[i] + 5) % 16], 1u);
    if (i < 16) {
        y[i] = atomicLoad(&bins[i]);
    }
}

// One buffer, atomic by one binding and plain by another.
//# atomic_and_plain_reads plain_read=@counts order=y
@compute @workgroup_size(64)
fn atomic_and_plain_reads(@builtin(local_invocation_index) i: u32) {
    atomicAdd(&counts[0], 1); //~ race counts A
    y[i] = u32(plain_read[0]); //~ A:
}

//# atomic_and_plain_writes plain=@counts order=counts,plain
@compute @workgroup_size(64)
fn atomic_and_plain_writes(@builtin(local_invocation_index) i: u32) {
    if (i == 9) {
        plain[0] = 100; //~ race plain A
    } else {
        atomicAdd(&counts[0], 1); //~ A:
    }
}

//# atomic_loads_and_plain_writes plain=@counts order=y
@compute @workgroup_size(64)
fn atomic_loads_and_plain_writes(@builtin(local_invocation_index) i: u32) {
    if (i == 9) {
        plain[0] = 100; //~ race plain A
    } else {
        y[i] = u32(atomicLoad(&counts[0])); //~ A:
    }
}

//# atomic_and_plain_reads_alone plain_read=@counts
@compute @workgroup_size(64)
fn atomic_and_plain_reads_alone(@builtin(local_invocation_index) i: u32) {
    y[i] = u32(atomicLoad(&counts[0]) + plain_read[0]);
}

//# atomic_then_barrier_then_plain plain=@counts
@compute @workgroup_size(64)
fn atomic_then_barrier_then_plain(@builtin(local_invocation_index) i: u32) {
    atomicAdd(&counts[0], 1);
    storageBarrier();
    if (i == 1) {
        plain[0] += 1;
    }
}

// Atomic and plain accesses of different elements.
//# atomic_beside_plain plain=@counts
@compute @workgroup_size(32)
fn atomic_beside_plain(@builtin(local_invocation_index) i: u32) {
    atomicAdd(&counts[2 * i], 1);
    plain[2 * i + 1] = 1;
}

// A flag does not order what is written before it and read after it.
//# message_by_a_flag order=y
@compute @workgroup_size(64)
fn message_by_a_flag(@builtin(local_invocation_index) i: u32) {
    if (i == 0) {
        message = 7; //~ A:
        atomicStore(&ready, 1u);
    } else if (atomicLoad(&ready) == 1) {
        y[i] = message; //~ race message A
    }
}

//# message_by_a_flag_in_storage workgroups=2 flag=zeros:1 order=y
@compute @workgroup_size(1)
fn message_by_a_flag_in_storage(@builtin(workgroup_id) group: vec3u) {
    if (group.x == 0) {
        y[0] = 7; //~ A:
        atomicStore(&flag, 1u);
    } else if (atomicLoad(&flag) == 1) {
        y[1] = y[0]; //~ race y A
    }
}

// The last workgroup to come adds up what the others wrote, which nothing orders.
//# the_last_one_adds_up workgroups=4 count=zeros:1 y=5
@compute @workgroup_size(1)
fn the_last_one_adds_up(@builtin(workgroup_id) group: vec3u) {
    y[group.x] = x[group.x]; //~ A:
    storageBarrier();
    if (atomicAdd(&count, 1u) == 3) {
        y[4] = y[0] + y[1] + y[2] + y[3]; //~ race y A
    }
}

// Sums of integers by atomics need no order.
//# all_add_up workgroups=4 x=256 count=zeros:1
@compute @workgroup_size(64)
fn all_add_up(@builtin(global_invocation_id) global: vec3u) {
    atomicAdd(&count, x[global.x]);
}

// A lock of relaxed atomics does not order what it is to guard.
//# a_lock flag=zeros:1
@compute @workgroup_size(8)
fn a_lock(@builtin(local_invocation_index) i: u32) {
    loop {
        if (atomicCompareExchangeWeak(&flag, 0u, 1u).exchanged) {
            break;
        }
    }
    y[0] += 1; //~ race y
    atomicStore(&flag, 0u);
}

// Nobody can write the flag before this one ends or waits.
//# spinning flag=zeros:1 budget=1000
@compute @workgroup_size(64)
fn spinning(@builtin(local_invocation_index) i: u32) {
    if (i == 5) {
        loop { //~ endless
            if (atomicLoad(&flag) == 63) {
                break;
            }
        }
    }
    atomicAdd(&flag, 1u);
    storageBarrier();
    if (i == 5) {
        loop {
            if (atomicLoad(&flag) == 64) {
                break;
            }
        }
    }
}

//# exchange_of_its_own
@compute @workgroup_size(64)
fn exchange_of_its_own(@builtin(local_invocation_index) i: u32) {
    y[i] = u32(atomicExchange(&counts[i], -1));
}

//# exchange_of_one order=y,counts
@compute @workgroup_size(64)
fn exchange_of_one(@builtin(local_invocation_index) i: u32) {
    y[i] = u32(atomicExchange(&counts[0], i32(i)));
}
