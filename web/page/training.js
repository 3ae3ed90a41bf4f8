// Controls the training of a session. In each frame, it requests as many steps as the time budget allows. Results are
// read back rarely, and steps never wait for a readback.

/** Milliseconds of GPU work requested per frame. The GPU also draws the page, so this is less than a frame. */
const BUDGET = 12;
/** Milliseconds of CPU work requested per frame. It is more than a frame, so that the worker always has work. */
const THREAD_BUDGET = 24;
/** Milliseconds between two readbacks of the losses. */
const LOSSES_EVERY = 200;
/** Minimum milliseconds between evaluations. After a slow evaluation, the minimum is ten times its duration. */
const EVALUATION_EVERY = 1000;
/** Milliseconds before the first evaluation if evaluations are slow. */
const FIRST_SLOW_EVALUATION = 10000;
/** Milliseconds between snapshots of the training. If the device is lost, training continues from the last snapshot. */
const SNAPSHOT_EVERY = 3000;
/** Number of frame times that are stored. */
const FRAMES = 600;

const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));

export class Training {
  /** Milliseconds after which an evaluation ends early. Its result then covers only a part of the test set. */
  static longestEvaluation = 20000;

  /**
   * `gpu` is the GPU device, or null for the CPU. `on` has these callbacks: losses(Float32Array, steps before them),
   * evaluated({step, loss, accuracy, examples}), evaluating(fraction done) during a slow evaluation, frame(time), and
   * stopped(error or null).
   */
  constructor(session, { gpu, isSoftware }, options, on) {
    const isGpu = gpu !== null;
    this.session = session;
    this.options = options;
    this.on = on;
    this.isGpu = isGpu;
    this.isSoftware = isSoftware;
    this.evaluatesAtOnce = isGpu && !isSoftware;
    // Evaluate before the first step only where this is fast. Elsewhere it could delay the first step by seconds.
    this.evaluatesFirst = this.evaluatesAtOnce || (!isGpu && options.network === "two-layer");
    this.isSlow = !this.evaluatesAtOnce && options.network !== "two-layer";
    this.running = false;
    this.quits = false;
    this.reads = new Set();
    this.snapshot = null;
    this.snapshotStep = 0;
    this.weights = null;
    this.frameTimes = [];
    this.stepsPerSecond = 0;
    this.lossesRead = session.steps;
    this.finished = Promise.resolve();
    this.pace = new Pace(session, isGpu ? BUDGET : THREAD_BUDGET);
  }

  get steps() {
    return this.session.steps;
  }

  /** Calls `prepare`, which sets the initial state, and returns this training. If that fails, frees the session. */
  async prepared(prepare) {
    try {
      await prepare(this);
    } catch (error) {
      this.session.free();
      throw error;
    }
    return this;
  }

  /** Continues from the last snapshot of another training or, if it has none, from the weights that it started with. */
  async goOnFrom(other) {
    if (other?.snapshot) await this.resume(other.snapshot);
    else if (other?.weights) await this.takeWeights(other.weights);
  }

  /** Resumes the training in a file. */
  async resume(file) {
    await this.session.resume(file);
    this.snapshot = file;
    this.snapshotStep = this.lossesRead = this.steps;
  }

  /** Loads initial weights from a file. */
  async takeWeights(file) {
    await this.session.setWeights(file);
    this.weights = file;
  }

  /** Whether progress would be lost if a new training replaced this one. */
  get isBegun() {
    return this.steps > 0 || this.weights !== null;
  }

  /**
   * Trains until `pause` is called or the training has taken `steps` steps. Call it only while training is paused. It
   * resolves as soon as the training's pace is measured. Other work before that would distort the measurement.
   */
  async start(steps = Infinity) {
    this.running = true;
    this.quits = false;
    const measured = this.pace.begin();
    this.finished = this.#run(measured, steps);
    // Ignore errors here, because `#run` passes them to `stopped`.
    await measured.catch(() => {});
  }

  /** Stops requesting steps. Resolves when all requested steps are done and the last results are read. */
  pause() {
    this.running = false;
    return this.finished;
  }

  /** Like `pause`, but does not read the last results, because they are no longer needed. */
  quit() {
    this.quits = true;
    return this.pause();
  }

  async #run(measured, until) {
    let failure = null;
    this.failure = null;
    try {
      await measured;
      if (this.steps === 0 && this.evaluatesFirst) await this.#evaluate();
      await this.#frames(until);
      await this.pace.end();
      await Promise.all(this.reads);
      if (this.failure) throw this.failure;
      if (!this.quits) {
        await this.#readLosses();
        await this.#evaluate();
        await this.#keep();
      }
    } catch (error) {
      failure = error;
    }
    this.running = false;
    if (failure || !this.quits) this.on.stopped(failure);
  }

  async #frames(until) {
    let before = await frame();
    let [losses, snapshot] = [before, before];
    let evaluation = before + (this.isSlow ? FIRST_SLOW_EVALUATION : EVALUATION_EVERY);
    const meter = new Meter(before, this.pace.done);
    while (this.running && this.steps < until) {
      this.pace.advance(until - this.steps);
      const now = await frame();
      this.frameTimes.push(now - before);
      if (this.frameTimes.length > FRAMES) this.frameTimes.shift();
      before = now;
      if (this.failure) throw this.failure;
      this.stepsPerSecond = meter.rate(now, this.pace.done);
      if (now - losses > LOSSES_EVERY) {
        losses = now;
        this.#background(this.#readLosses());
      }
      if (now - snapshot > SNAPSHOT_EVERY) {
        snapshot = now;
        this.#background(this.#keep());
      }
      if (now > evaluation && this.session.testParts > 0) {
        const took = await this.#evaluate();
        before = await frame();
        evaluation = before + Math.max(EVALUATION_EVERY, 10 * took);
        meter.skip(before - now);
      }
      this.on.frame(now);
    }
  }

  /**
   * Stops the training with this error at the next frame. Needed because a device reports an error to one call only.
   */
  fail(error) {
    this.failure ??= error;
  }

  #background(promise) {
    const read = promise.catch((error) => this.fail(error)).finally(() => this.reads.delete(read));
    this.reads.add(read);
  }

  async #readLosses() {
    const steps = this.steps;
    const count = Math.min(steps - this.lossesRead, 16384);
    if (count === 0) return;
    this.lossesRead = steps;
    this.on.losses(await this.session.losses(count), steps - count);
  }

  /** Takes a snapshot of the training. */
  async #keep() {
    const step = this.steps;
    this.snapshot = await this.session.save();
    this.snapshotStep = step;
  }

  /**
   * Evaluates the test set with the current weights. No step is requested meanwhile. Returns the milliseconds taken.
   */
  async #evaluate() {
    const start = performance.now();
    const { session } = this;
    if (session.testParts === 0) return 0;
    const parts = [...Array(session.testParts).keys()];
    let results = [];
    if (this.evaluatesAtOnce) {
      results = await Promise.all(parts.map((part) => session.evaluatePart(part)));
    } else {
      let last = start;
      for (const part of parts) {
        if (this.quits) break;
        results.push(await session.evaluatePart(part));
        if (performance.now() - start > Training.longestEvaluation) break;
        if (this.isSlow) this.on.evaluating((part + 1) / parts.length);
        if (performance.now() - last > BUDGET) {
          // A software GPU also draws the page, so let it draw a frame.
          if (this.isGpu) await frame();
          last = performance.now();
          this.on.frame(last);
        }
      }
    }
    if (this.quits) return performance.now() - start;
    const sum = (of) => results.reduce((total, result) => total + of(result) * result.examples, 0);
    const examples = sum(() => 1);
    const evaluation = {
      step: this.steps,
      loss: sum((result) => result.loss) / examples,
      accuracy: sum((result) => result.accuracy) / examples,
      examples,
    };
    this.on.evaluated(evaluation);
    return performance.now() - start;
  }
}

/** Measures steps per second over the last one or two seconds. */
class Meter {
  constructor(now, steps) {
    this.marks = [{ now, steps }];
  }

  rate(now, steps) {
    this.marks.push({ now, steps });
    while (this.marks.length > 2 && now - this.marks[0].now > 2000) this.marks.shift();
    const [first] = this.marks;
    return now > first.now ? (1000 * (steps - first.steps)) / (now - first.now) : 0;
  }

  /** Excludes time in which no steps were taken. */
  skip(milliseconds) {
    this.marks.forEach((mark) => { mark.now += milliseconds; });
  }
}

/**
 * Requests a few steps per frame and keeps about two requests in flight. So the GPU or the worker always has work, and
 * its queue stays short. The time between completions determines how many steps fit into the budget of a frame. If a
 * step takes longer than a frame, a request has one step, and several frames pass until it is done.
 */
class Pace {
  constructor(session, budget) {
    this.session = session;
    this.budget = budget;
    this.count = 1;
    this.underWay = new Set();
    this.done = session.steps;
    this.latency = Infinity;
    this.lastDone = 0;
  }

  async begin() {
    this.failure = null;
    // Measure how long the browser takes to report a completion when there is no work. Some browsers take long.
    for (let i = 0; i < 3; i += 1) {
      const start = performance.now();
      await this.session.done();
      this.latency = Math.min(this.latency, performance.now() - start);
    }
    this.most = 2 + Math.round(this.latency / 16);
    this.done = this.session.steps;
  }

  advance(most) {
    if (this.failure) throw this.failure;
    if (this.underWay.size >= this.most) return;
    const count = Math.min(Math.max(1, Math.round(this.count)), most);
    const start = performance.now();
    const advanced = this.session.advance(count);
    const step = this.session.steps;
    const told = advanced.then(() => {
      const now = performance.now();
      this.#adapt(count, now - Math.max(start, this.lastDone) - this.latency);
      this.lastDone = now;
      if (this.done === 0) performance.mark("wgrad-first-step");
      this.done = step;
    }).catch((error) => { this.failure ??= error; })
      .finally(() => this.underWay.delete(told));
    this.underWay.add(told);
  }

  #adapt(count, took) {
    const wanted = (count * this.budget) / Math.max(took, 0.1);
    this.count = Math.min(Math.max(wanted, 0.5 * this.count, 1), 1.3 * this.count + 0.5, 4096);
  }

  async end() {
    await Promise.all(this.underWay);
    if (this.failure) throw this.failure;
  }
}
