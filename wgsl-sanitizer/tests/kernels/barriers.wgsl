// Barriers that all invocations of a workgroup reach, and barriers that not all reach.

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@group(0) @binding(2) var<uniform> n: vec4u;

var<workgroup> tile: array<u32, 64>;
var<workgroup> one: u32;

//# a_uniform_branch n=1,2,3,4 workgroups=2 y=128
@compute @workgroup_size(64)
fn a_uniform_branch(
    @builtin(local_invocation_index) i: u32,
    @builtin(global_invocation_id) global: vec3u,
    @builtin(workgroup_id) group: vec3u,
) {
    if (n.x == 1 && group.x == 1) {
        tile[i] = i;
        workgroupBarrier();
        y[global.x] = tile[63 - i];
    }
}

//# a_branch_by_invocation
@compute @workgroup_size(64)
fn a_branch_by_invocation(@builtin(local_invocation_index) i: u32) {
    if (i < 32) {
        workgroupBarrier(); //~ divergence A
    }
    y[i] = i; //~ A:
}

// The condition differs between invocations of the second workgroup alone.
//# a_branch_by_element workgroups=2 x=128
@compute @workgroup_size(64)
fn a_branch_by_element(@builtin(global_invocation_id) global: vec3u) {
    if (x[global.x] < 100) {
        storageBarrier(); //~ divergence A
    }
    let ignored = x[0]; //~ A:
}

//# an_early_return
@compute @workgroup_size(64)
fn an_early_return(@builtin(local_invocation_index) i: u32) {
    if (i >= 60) {
        return; //~ A:
    }
    workgroupBarrier(); //~ divergence A
    y[i] = i;
}

//# a_late_return
@compute @workgroup_size(64)
fn a_late_return(@builtin(local_invocation_index) i: u32) {
    tile[i] = x[i];
    workgroupBarrier();
    if (i >= 60) {
        return;
    }
    y[i] = tile[i + 1];
}

//# a_return_of_the_whole_workgroup workgroups=2 y=128
@compute @workgroup_size(64)
fn a_return_of_the_whole_workgroup(
    @builtin(local_invocation_index) i: u32,
    @builtin(workgroup_id) group: vec3u,
) {
    if (group.x == 0) {
        return;
    }
    tile[i] = x[i];
    workgroupBarrier();
    y[i] = tile[63 - i];
}

//# barriers_of_both_branches
@compute @workgroup_size(64)
fn barriers_of_both_branches(@builtin(local_invocation_index) i: u32) {
    if (i < 32) {
        workgroupBarrier(); //~ divergence A
    } else {
        workgroupBarrier(); //~ A:
    }
}

//# kinds_of_both_branches
@compute @workgroup_size(64)
fn kinds_of_both_branches(@builtin(local_invocation_index) i: u32) {
    if (i % 2 == 1) {
        storageBarrier(); //~ A:
    } else {
        workgroupBarrier(); //~ divergence A
    }
}

//# a_loop_of_the_same_length n=5,0,0,0
@compute @workgroup_size(64)
fn a_loop_of_the_same_length(@builtin(local_invocation_index) i: u32) {
    for (var step = 0u; step < n.x; step++) {
        tile[i] = step;
        workgroupBarrier();
        y[i] += tile[63 - i];
        workgroupBarrier();
    }
}

// Who has gone round less often is behind the loop, and ends.
//# a_loop_of_another_length
@compute @workgroup_size(64)
fn a_loop_of_another_length(@builtin(local_invocation_index) i: u32) {
    for (var step = 0u; step <= i; step++) {
        workgroupBarrier(); //~ divergence A
    }
    y[i] = i; //~ A:
}

// All come to the barrier as often as the others: but not in the same iteration.
//# another_iteration
@compute @workgroup_size(64)
fn another_iteration(@builtin(local_invocation_index) i: u32) {
    for (var step = 0u; step < 2; step++) {
        if (step == i % 2) {
            workgroupBarrier(); //~ A:, divergence A
        }
    }
}

//# another_iteration_of_the_outer_loop
@compute @workgroup_size(2)
fn another_iteration_of_the_outer_loop(@builtin(local_invocation_index) i: u32) {
    for (var outer = 0u; outer < 2; outer++) {
        for (var inner = 0u; inner < 2; inner++) {
            if (outer == i && inner == 1) {
                workgroupBarrier(); //~ A:, divergence A
            }
        }
    }
}

// Loops before a barrier may be as long as they like.
//# a_loop_of_another_length_before
@compute @workgroup_size(64)
fn a_loop_of_another_length_before(@builtin(local_invocation_index) i: u32) {
    for (var step = 0u; step < i; step++) {
        tile[i] += step;
    }
    workgroupBarrier();
    y[i] = tile[63 - i];
}

//# a_break_before_the_barrier
@compute @workgroup_size(8)
fn a_break_before_the_barrier(@builtin(local_invocation_index) i: u32) {
    var step = 0u;
    loop {
        if (step == i + 3) {
            break;
        }
        workgroupBarrier(); //~ divergence A
        step++;
    }
    y[i] = step; //~ A:
}

//# a_continue_before_the_barrier
@compute @workgroup_size(8)
fn a_continue_before_the_barrier(@builtin(local_invocation_index) i: u32) {
    for (var step = 0u; step < 8; step++) {
        if (step == i) {
            continue;
        }
        workgroupBarrier(); //~ A:, divergence A
    }
}

//# a_uniform_break n=3,0,0,0
@compute @workgroup_size(64)
fn a_uniform_break(@builtin(local_invocation_index) i: u32) {
    var step = 0u;
    loop {
        tile[i] = step;
        workgroupBarrier();
        y[i] = tile[63 - i];
        workgroupBarrier();
        if (step == n.x) {
            break;
        }
        continuing {
            step++;
        }
    }
}

//# in_a_function_called_twice
fn turn(i: u32, value: u32) -> u32 {
    tile[i] = value;
    workgroupBarrier();
    let turned = tile[63 - i];
    workgroupBarrier();
    return turned;
}

@compute @workgroup_size(64)
fn in_a_function_called_twice(@builtin(local_invocation_index) i: u32) {
    y[i] = turn(i, turn(i, x[i]) + 1);
}

// One barrier of the source, reached by two calls.
//# in_a_function_called_from_both_branches
fn wait() {
    workgroupBarrier(); //~ A:, divergence A
}

@compute @workgroup_size(64)
fn in_a_function_called_from_both_branches(@builtin(local_invocation_index) i: u32) {
    if (i < 32) {
        wait();
    } else {
        wait();
    }
}

//# a_return_of_a_function
fn half_wait(i: u32) -> u32 {
    if (i > 31) {
        return 1;
    }
    workgroupBarrier(); //~ divergence A
    return 0;
}

@compute @workgroup_size(64)
fn a_return_of_a_function(@builtin(local_invocation_index) i: u32) {
    y[i] = half_wait(i); //~ A:
}

//# a_uniform_switch n=2,0,0,0
@compute @workgroup_size(64)
fn a_uniform_switch(@builtin(local_invocation_index) i: u32) {
    tile[i] = i;
    switch n.x {
        case 1: {
            workgroupBarrier();
        }
        case 2, 3: {
            workgroupBarrier();
            y[i] = tile[63 - i];
        }
        default: {}
    }
}

//# a_switch_by_invocation
@compute @workgroup_size(64)
fn a_switch_by_invocation(@builtin(local_invocation_index) i: u32) {
    switch i % 3 {
        case 0: {
            workgroupBarrier(); //~ divergence A
        }
        case 1: {
            workgroupBarrier(); //~ A:
        }
        default: {}
    }
}

//# a_barrier_that_nobody_reaches n=0,0,0,0
@compute @workgroup_size(64)
fn a_barrier_that_nobody_reaches(@builtin(local_invocation_index) i: u32) {
    if (n.x > i) {
        workgroupBarrier();
    }
    y[i] = i;
}

// The second half of the workgroup takes part in nothing but the barriers.
//# idle_invocations
@compute @workgroup_size(64)
fn idle_invocations(@builtin(local_invocation_index) i: u32) {
    if (i < 32) {
        tile[i] = x[i];
    }
    workgroupBarrier();
    if (i < 32) {
        y[i] = tile[31 - i];
    }
}

//# a_uniform_load
@compute @workgroup_size(64)
fn a_uniform_load(@builtin(local_invocation_index) i: u32) {
    if (i == 0) {
        one = x[9];
    }
    let all = workgroupUniformLoad(&one);
    if (all == 9) {
        workgroupBarrier();
    }
    y[i] = all;
}

// It is a barrier before and after: a write that follows is ordered.
//# a_write_after_a_uniform_load
@compute @workgroup_size(64)
fn a_write_after_a_uniform_load(@builtin(local_invocation_index) i: u32) {
    let all = workgroupUniformLoad(&one);
    if (i == 63) {
        one = all + 1;
    }
}

//# a_uniform_load_by_some
@compute @workgroup_size(64)
fn a_uniform_load_by_some(@builtin(local_invocation_index) i: u32) {
    if (i < 9) {
        y[i] = workgroupUniformLoad(&one); //~ divergence A
    }
    y[i] += 1; //~ A:
}

// A plain load whose value steers a barrier: it is uniform here, as it is read after a barrier.
//# a_condition_from_workgroup_memory
@compute @workgroup_size(64)
fn a_condition_from_workgroup_memory(@builtin(local_invocation_index) i: u32) {
    if (i == 7) {
        one = x[1];
    }
    workgroupBarrier();
    if (one == 1) {
        tile[i] = i;
        workgroupBarrier();
        y[i] = tile[63 - i];
    }
}

//# a_workgroup_of_one
@compute @workgroup_size(1)
fn a_workgroup_of_one() {
    tile[0] = x[0];
    if (x[0] == 0) {
        workgroupBarrier();
    }
    y[0] = tile[0];
}
