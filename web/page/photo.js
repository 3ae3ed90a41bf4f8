// The photo view: a small network learns to map a position to its color, and the page draws the picture learned so far.

import { checkSize, tell } from "./mishaps.js";
import { LearntPicture } from "./picture.js";
import { Training } from "./training.js";

/** Maximum number of pixels along the longer side of a photo. */
const MOST = 512;
/** Number of pixels per minibatch, by kind of device. */
const BATCH = { gpu: 1 << 16, software: 1 << 11, cpu: 1 << 12 };
/** Number of pixels drawn at a time, by kind of device. Drawing them takes as long as one or two steps. */
const SLICE = { gpu: 1 << 16, software: 1 << 14, cpu: 1 << 14 };
/** Number of cells of the hash grid per axis at the coarsest level, and its growth factor from level to level. */
const GRID = { coarsest: 16, growth: 1.5 };
/** Milliseconds between updates of the displayed numbers. */
const FIGURES_EVERY = 150;

const $ = (id) => document.getElementById(id);
const count = (number) => Math.round(number).toLocaleString("en");

export class PhotoView {
  #photo = null;
  #training = null;
  #batch = 0;
  #figuresAt = 0;
  #isDrawing = false;
  #drawing = Promise.resolve();
  /** Number of requested photos, number of them that are not loaded yet, and number of the latest loaded photo. */
  #asked = 0;
  #pending = 0;
  #latest = 0;

  /**
   * `serialize` runs actions one after another; these actions may replace the training. `isOpen` returns whether this
   * view is open.
   */
  constructor({ engine, compute, notice, serialize, isOpen }) {
    Object.assign(this, { engine, compute, notice, serialize, isOpen });
    this.learnt = new LearntPicture($("learnt"));
    this.#wire();
  }

  /** Trains until this many steps are taken in total. Resolves when training has stopped and the picture is drawn. */
  async trainTo(steps) {
    await this.#train(steps);
    await this.#drawing;
  }

  /** The state, for tests and the console. */
  get state() {
    const training = this.#training;
    const { width, height } = this.#photo ?? { width: 0, height: 0 };
    return {
      ready: training !== null,
      device: training?.isGpu ? "gpu" : "cpu",
      size: [width, height],
      levels: training?.options.levels ?? 0,
      batch: this.#batch,
      running: training?.running ?? false,
      drawing: this.#isDrawing,
      steps: training?.steps ?? 0,
      psnr: this.learnt.psnr,
      samplesPerSecond: (training?.stepsPerSecond ?? 0) * this.#batch,
      frameTimes: [...(training?.frameTimes ?? [])],
      plan: training?.session.plan ?? null,
    };
  }

  /** Called when the view is opened. On the first call, paints a picture to learn. */
  async enter() {
    // The visitor may already have opened another view.
    if (!this.isOpen()) return;
    if (this.#training) {
      this.#tellDevice();
      this.#drawAll();
    }
    this.#follow();
    if (!this.#photo && this.#pending === 0) await this.#choose(() => this.engine.paintPhoto(MOST), "Painted picture");
  }

  /** Called when another view is opened. */
  leave() {
    this.learnt.stop();
    if (this.#training?.running) this.#pause();
  }

  /** Loads a photo from a file that was dropped or chosen. */
  takeFile(file) {
    return this.#choose(() => {
      checkSize(file);
      return this.engine.openPhoto(file, MOST);
    }, file.name);
  }

  /** Opens another photo and restarts the training with it. If that fails, shows why and keeps the previous photo. */
  async #choose(open, name) {
    this.#asked += 1;
    this.#pending += 1;
    const mine = this.#asked;
    // Do not hide a message from the start of the page, because it is not about a photo.
    if (this.#photo) this.notice.hide();
    try {
      const photo = Object.assign(await open(), { name });
      // Ignore this photo if one that was requested later is already loaded.
      if (mine < this.#latest) {
        photo.free();
        return;
      }
      this.#latest = mine;
      await this.#anew(photo);
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#pending -= 1;
    }
  }

  #show(photo) {
    this.#photo = photo;
    const { width, height, rgba, name } = photo;
    $("photo-reset").disabled = false;
    Object.assign($("target"), { width, height });
    $("target").getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(rgba.buffer), width, height), 0, 0);
    $("target").setAttribute("aria-label", `The photo: ${name}`);
    $("photo-name").textContent = `${name}, ${width}×${height} pixels`;
  }

  /** Restarts the training, on `another` photo if given. Starts it at once if the previous training was running. */
  #anew(another = null) {
    return this.serialize(async () => {
      const isRunning = this.#training?.running ?? false;
      const before = this.#photo;
      const photo = another ?? before;
      if (!photo) return;
      const settings = this.#settings();
      let training;
      try {
        await this.#training?.quit();
        this.#runs("stands");
        training = await this.#newTraining(photo, settings);
      } catch (error) {
        // If this was the first photo, keep it, so that the visitor can try again with other settings.
        if (before) another?.free();
        else this.#show(photo);
        this.#stay(settings);
        this.#fail(error);
        return;
      }
      if (another) {
        this.#show(another);
        before?.free();
      }
      this.#take(training);
      this.#sayStands();
      if (isRunning) await this.#start();
      else this.#drawAll();
    });
  }

  /** Shows the settings of the current training again, after no training could be made with these settings. */
  #stay({ levels }) {
    // Do not change the slider if the visitor has moved it meanwhile.
    if (this.#training && Number($("levels").value) === levels) $("levels").value = this.#training.options.levels;
    this.#tellSettings();
    this.#sayStands();
    this.#figures();
  }

  /** Returns the settings that the visitor has chosen. */
  #settings() {
    return { levels: Number($("levels").value), wantsGpu: this.compute.isOnGpu };
  }

  /** Makes a training. `prepare` may set its initial state. */
  #newTraining(photo, { levels, wantsGpu }, prepare = () => {}) {
    return this.compute.use(wantsGpu, async (device) => {
      const kind = !device.gpu ? "cpu" : device.isSoftware ? "software" : "gpu";
      const batch = Math.min(BATCH[kind], photo.width * photo.height);
      const options = { network: "photo", levels, wantsGpu, slice: SLICE[kind], batch };
      const session = await this.engine.openPhotoSession(device.gpu, photo, levels, batch);
      return new Training(session, device, options, {
        losses: () => {},
        evaluated: () => {},
        evaluating: () => {},
        frame: (now) => this.#everyFrame(now),
        stopped: (error) => this.#stopped(error),
      }).prepared(prepare);
    });
  }

  /** Replaces the current training. */
  #take(training) {
    this.#training?.session.free();
    this.#training = training;
    this.#batch = training.options.batch;
    this.learnt.begin(training.session, this.#photo, training.options.slice);
    $("photo-plan").textContent = `A step: ${training.session.plan}; ${count(this.#batch)} pixels each.`;
    this.#runs("stands");
    this.#tellDevice();
    this.#tellSettings();
    this.#figures();
  }

  async #train(steps) {
    if (this.#training?.running) return;
    // The action ends when training has started. Training itself runs until the visitor pauses it.
    const begun = await this.serialize(async () => {
      // Do nothing if another request has started the training meanwhile.
      if (!this.#training || this.#training.running) return null;
      await this.#training.finished;
      this.notice.hide();
      return this.#start(steps);
    });
    await begun?.finished;
  }

  /** Starts training after all drawing is done, because drawing would distort the measured pace of the training. */
  async #start(steps) {
    $("photo-train").disabled = true;
    this.learnt.stop();
    await this.#drawing;
    // Do not start if another view was opened meanwhile.
    if (!this.isOpen()) {
      this.#runs("stands");
      return null;
    }
    this.#runs("runs");
    this.#say(`Learning the photo on ${this.#training.isGpu ? "the GPU" : "the CPU"}…`);
    await this.#training.start(steps);
    return { finished: this.#training.finished };
  }

  #pause() {
    this.#training.pause();
    this.#runs("stops");
  }

  #stopped(error) {
    this.#runs("stands");
    if (error) {
      this.#fail(error);
    } else {
      this.#sayStands();
      if (this.isOpen()) this.#drawAll();
    }
    this.#figures();
  }

  /** Continues the training on a new device, from the last snapshot. */
  async #goOn() {
    const isReady = await this.serialize(async () => {
      try {
        const old = this.#training;
        await old?.quit();
        const settings = old?.options ?? this.#settings();
        this.#take(await this.#newTraining(this.#photo, settings, (training) => training.goOnFrom(old)));
        return true;
      } catch (error) {
        this.#fail(error);
        return false;
      }
    });
    if (isReady) await this.#train();
  }

  #fail(error) {
    tell(error, this.notice, {
      training: this.#training,
      say: (text) => this.#say(text),
      reset: () => this.#anew(),
      goOn: () => this.#goOn(),
    });
  }

  // Display

  #everyFrame(now) {
    if (now - this.#figuresAt > FIGURES_EVERY) {
      this.#figuresAt = now;
      this.#figures();
    }
    // Draw one slice at a time. The worker draws it after the steps that were requested before.
    if (!this.#isDrawing) this.#draw(() => this.learnt.draw());
  }

  /** Draws the whole picture with the current weights, for a paused training. */
  #drawAll() {
    const { stops } = this.learnt;
    return this.#draw(() => this.learnt.drawAll(stops));
  }

  /** Calls `draw` after all drawings that were requested before are done. */
  #draw(draw) {
    this.#isDrawing = true;
    const drawing = this.#drawing.then(async () => {
      const training = this.#training;
      try {
        await draw();
      } catch (error) {
        // Ignore errors of a training that was replaced.
        if (training.running) training.fail(error);
        else if (training === this.#training) this.#fail(error);
      }
      if (drawing === this.#drawing) this.#isDrawing = false;
      if (!training.running) this.#figures();
    });
    this.#drawing = drawing;
    return drawing;
  }

  #figures() {
    const training = this.#training;
    const { psnr } = this.learnt;
    const rate = (training?.stepsPerSecond ?? 0) * this.#batch;
    const set = (id, text) => { if ($(id).textContent !== text) $(id).textContent = text; };
    set("photo-steps", count(training?.steps ?? 0));
    set("psnr", psnr === null ? "–" : Number.isFinite(psnr) ? `${psnr.toFixed(1)} dB` : "∞ dB");
    set("samples", rate > 0 ? rate.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 3 }) : "–");
    const label = psnr === null ? "What the network has learned" : `What the network has learned: ${psnr.toFixed(1)} decibels`;
    if ($("learnt").getAttribute("aria-label") !== label) $("learnt").setAttribute("aria-label", label);
  }

  #say(text) {
    $("photo-status").textContent = text;
  }

  #sayStands() {
    const steps = this.#training?.steps;
    this.#say(steps > 0 ? `Paused after ${count(steps)} steps.` : this.#training ? "Ready: press Train." : "No training yet.");
  }

  #runs(state) {
    const again = this.#training?.steps > 0 ? "Go on" : "Train";
    $("photo-train").textContent = { runs: "Pause", stops: "Pausing…", stands: again }[state];
    $("photo-train").disabled = state === "stops" || !this.#training;
  }

  #tellDevice() {
    if (this.isOpen()) this.compute.tell(this.#training?.isGpu ?? this.compute.isOnGpu);
  }

  /** Shows the grid's resolution, and whether the chosen device differs from the device of the training. */
  #tellSettings() {
    const levels = Number($("levels").value);
    const cells = (level) => Math.floor(GRID.coarsest * GRID.growth ** level).toLocaleString("en");
    $("levels-shown").textContent = levels;
    $("levels-help").textContent = levels === 1 ? `One grid of ${cells(0)}×${cells(0)} cells.`
      : `Grids of ${cells(0)}×${cells(0)} to ${cells(levels - 1)}×${cells(levels - 1)} cells, each 1.5 times finer than the one before.`;
    const training = this.#training;
    const differs = training?.isBegun && training.options.wantsGpu !== this.compute.isOnGpu;
    $("photo-note").textContent = differs ? "Press Reset to apply the changed settings." : "";
    $("photo-reset").classList.toggle("due", Boolean(differs));
  }

  #wire() {
    $("photo-train").addEventListener("click", () => (this.#training?.running ? this.#pause() : this.#train()));
    $("photo-reset").addEventListener("click", () => {
      this.notice.hide();
      if (this.#training?.running) this.#pause();
      this.#anew();
    });
    $("levels").addEventListener("input", () => this.#tellSettings());
    $("levels").addEventListener("change", () => this.#anew());
    $("painted").addEventListener("click", () => this.#choose(() => this.engine.paintPhoto(MOST), "Painted picture"));
    $("photo-file").addEventListener("change", (event) => {
      const [file] = event.target.files;
      event.target.value = "";
      if (file) this.takeFile(file);
    });
    this.compute.select.addEventListener("change", () => {
      if (this.isOpen()) this.#follow();
    });
  }

  /** Switches to the chosen device at once if no progress of the training is lost. */
  #follow() {
    this.#tellSettings();
    const training = this.#training;
    if (training && !training.isBegun && training.options.wantsGpu !== this.compute.isOnGpu) this.#anew();
  }
}
