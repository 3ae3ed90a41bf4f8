//! A network learns to balance a pole on a cart by trial and error: an advantage actor-critic on the CPU.
//!
//! ```text
//! cargo run --release --example cart_pole -- --seed 1
//! ```
//!
//! The task is `CartPole-v1`, after Barto, Sutton, Anderson, "Neuronlike adaptive elements that can solve difficult
//! learning control problems", 1983. The policy outputs logits of the two actions. It is trained with the cross-entropy
//! of the actions taken. Each row is weighted by its advantage: how much better the outcome was than the critic
//! expected (Mnih and others, "Asynchronous methods for deep reinforcement learning", 2016). The advantages are
//! computed as in Schulman and others, "High-dimensional continuous control using generalized advantage estimation",
//! 2016.

#[path = "common/output.rs"]
mod output;

use std::process::ExitCode;
use std::slice::from_ref;
use std::time::Instant;

use clap::Parser;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use wgrad::cpu::{Network, Trainer};
use wgrad::ndarray::{Array2, s};
use wgrad::ops::{Adam, Linear, MeanSquaredError, SoftmaxCrossEntropy, Tanh};
use wgrad::{Error, Sequential, Targets};

/// Number of carts that are simulated at the same time, and number of steps per cart between two updates.
const CARTS: usize = 32;
const STEPS: usize = 32;
const ALL: usize = CARTS * STEPS;
/// Parameters of generalized advantage estimation: the discount γ per step, and the decay λ of the temporal-difference
/// errors of later steps.
const DISCOUNT: f32 = 0.99;
const TRACE: f32 = 0.95;
/// Training ends when two means reach this number of steps: the mean length of the last 100 episodes of the training,
/// and the mean length of the 100 episodes of an evaluation.
const LONG: f64 = 475.0;
const MOST_UPDATES: u64 = 3_000;
/// Maximum number of steps per episode.
const LONGEST: u32 = 500;

/// Learns to balance a pole on a cart.
#[derive(Debug, Parser)]
struct Args {
    /// Seed of the networks, the carts and the actions
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    output::run(|| learn(args.seed))
}

/// A simulated cart on a track, with a pole standing on it.
struct Cart {
    /// Position in m, velocity in m/s, angle in rad, angular velocity in rad/s.
    state: [f32; 4],
    steps: u32,
}

impl Cart {
    fn new(random: &mut ChaCha8Rng) -> Self {
        let state = [(); 4].map(|()| random.random_range(-0.05..0.05));
        Self { state, steps: 0 }
    }

    /// Simulates one step of 1/50 s, in which the cart is pushed to the right or to the left. Returns whether the pole
    /// still stands and the cart is still on the track.
    fn push(&mut self, right: bool) -> bool {
        const GRAVITY: f32 = 9.8;
        const MASS_OF_POLE: f32 = 0.1;
        const MASS: f32 = 1.0 + MASS_OF_POLE;
        const HALF_LENGTH: f32 = 0.5;

        let [_, speed, angle, turning] = self.state;
        let (sin, cos) = angle.sin_cos();
        let force = if right { 10.0 } else { -10.0 };
        let pushed = (force + MASS_OF_POLE * HALF_LENGTH * turning * turning * sin) / MASS;
        let inertia = HALF_LENGTH * (4.0 / 3.0 - MASS_OF_POLE * cos * cos / MASS);
        let turn = (GRAVITY * sin - cos * pushed) / inertia;
        let push = pushed - MASS_OF_POLE * HALF_LENGTH * turn * cos / MASS;
        let changes = [speed, push, turning, turn];
        self.state = [0, 1, 2, 3].map(|at| self.state[at] + 0.02 * changes[at]);
        self.steps += 1;
        self.state[0].abs() <= 2.4 && self.state[2].abs() <= 12f32.to_radians()
    }
}

/// Returns the states of the carts, shape (carts, 4).
fn rows(carts: &[Cart]) -> Array2<f32> {
    Array2::from_shape_fn((carts.len(), 4), |(row, at)| carts[row].state[at])
}

fn learn(seed: u64) -> Result<(), Box<dyn std::error::Error>> {
    let started = Instant::now();
    let random = &mut ChaCha8Rng::seed_from_u64(seed);
    let network = |outputs| {
        let hidden = Sequential::input(4).layer(Linear::new(64)).layer(Tanh);
        hidden.layer(Linear::new(outputs)).seed(seed).on_cpu()
    };
    let mut policy = Trainer::online(network(2)?, SoftmaxCrossEntropy, Adam::new(0.003))?;
    let mut critic = Trainer::online(network(1)?, MeanSquaredError, Adam::new(0.003))?;
    let mut carts: Vec<_> = (0..CARTS).map(|_| Cart::new(random)).collect();
    let mut lengths = Vec::new();
    while policy.steps_taken() < MOST_UPDATES {
        update(&mut policy, &mut critic, &mut carts, random, &mut lengths)?;
        let looks = policy.steps_taken().is_multiple_of(10);
        if looks && mean(&lengths) >= LONG && evaluate(policy.network(), random)? >= LONG {
            break;
        }
    }
    let mean = evaluate(policy.network(), random)?;
    let episodes = lengths.len();
    let steps = policy.steps_taken() * ALL as u64;
    let seconds = started.elapsed().as_secs_f64();
    Ok(output::line(format!(
        "seed={seed} episodes={episodes} steps={steps} mean_of_100={mean:.2} seconds={seconds:.1}"
    ))?)
}

/// Simulates each cart for [`STEPS`] steps, appends the lengths of finished episodes to `lengths`, and trains policy
/// and critic for one step on the result.
fn update(
    policy: &mut Trainer<f32>,
    critic: &mut Trainer<f32>,
    carts: &mut [Cart],
    random: &mut ChaCha8Rng,
    lengths: &mut Vec<u32>,
) -> Result<(), Error> {
    let mut x = Array2::zeros((ALL, 4));
    let mut actions = vec![0; ALL];
    let mut rewards = vec![0.0; ALL];
    let mut ended = vec![false; ALL];
    for first in (0..ALL).step_by(CARTS) {
        let seen = rows(carts);
        let logits = policy.network().predict(seen.view())?;
        x.slice_mut(s![first..first + CARTS, ..]).assign(&seen);
        for ((at, cart), of) in (first..).zip(&mut *carts).zip(logits.outer_iter()) {
            let right = random.random::<f32>() < 1.0 / (1.0 + (of[0] - of[1]).exp());
            let stands = cart.push(right);
            actions[at] = right.into();
            // Scale the reward so that the discounted sum for a pole that never falls is 1.
            rewards[at] = 1.0 - DISCOUNT;
            ended[at] = !stands || cart.steps == LONGEST;
            if ended[at] {
                // If the step limit ended the episode, add the critic's estimate of the later rewards.
                if stands {
                    let rest = critic.network().predict(rows(from_ref(cart)).view())?;
                    rewards[at] += DISCOUNT * rest[(0, 0)];
                }
                lengths.push(cart.steps);
                *cart = Cart::new(random);
            }
        }
    }
    let expected = critic.network().predict(x.view())?;
    let ahead = critic.network().predict(rows(carts).view())?;
    let mut advantages = vec![0.0; ALL];
    let mut returns = expected.clone();
    for at in (0..ALL).rev() {
        let (value, advantage) = match (at + CARTS).checked_sub(ALL) {
            _ if ended[at] => (0.0, 0.0),
            Some(cart) => (ahead[(cart, 0)], 0.0),
            None => (expected[(at + CARTS, 0)], advantages[at + CARTS]),
        };
        let came = rewards[at] + DISCOUNT * (value + TRACE * advantage);
        (returns[(at, 0)], advantages[at]) = (came, came - expected[(at, 0)]);
    }
    // Divide the advantages by their root mean square, so that the scale of the rewards does not matter.
    let squares: f32 = advantages.iter().map(|of| of * of).sum();
    let scale = (squares / ALL as f32).sqrt().max(1e-6);
    let weights: Vec<f32> = advantages.iter().map(|of| of / scale).collect();
    policy.step_on_weighted(x.view(), Targets::Classes(&actions), &weights)?;
    critic.step_on(x.view(), Targets::Values(returns.view()))?;
    Ok(())
}

/// Mean of the last 100 lengths; 0 if there are fewer than 100.
fn mean(lengths: &[u32]) -> f64 {
    let last = lengths.last_chunk::<100>();
    last.map_or(0.0, |last| f64::from(last.iter().sum::<u32>()) / 100.0)
}

/// Simulates 100 new episodes, in which the policy always takes the more probable action. Returns their mean length.
fn evaluate(policy: &Network<f32>, random: &mut ChaCha8Rng) -> Result<f64, Error> {
    let mut carts: Vec<_> = (0..100).map(|_| Cart::new(random)).collect();
    let mut lengths = Vec::new();
    while !carts.is_empty() {
        let logits = policy.predict(rows(&carts).view())?;
        let mut rights = logits.outer_iter().map(|of| of[1] > of[0]);
        carts.retain_mut(|cart| {
            let stands = rights.next().is_some_and(|right| cart.push(right));
            let goes_on = stands && cart.steps < LONGEST;
            lengths.extend((!goes_on).then_some(cart.steps));
            goes_on
        });
    }
    Ok(mean(&lengths))
}
