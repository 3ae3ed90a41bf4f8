// The photo view: a small network learns to map a position to its colour, and its picture is drawn meanwhile.

import { checkSize, tell } from "./mishaps.js";
import { LearntPicture } from "./picture.js";
import { Training } from "./training.js";

/** The most pixels along the longer side of a photo. */
const MOST = 512;
/** Pixels per minibatch, by device. */
const BATCH = { gpu: 1 << 16, software: 1 << 11, cpu: 1 << 12 };
/** Pixels drawn at a time; this takes as long as a step or two. */
const SLICE = { gpu: 1 << 16, software: 1 << 14, cpu: 1 << 14 };
/** Cells of the hash grid per axis: at the coarsest level, and their growth from level to level. */
const GRID = { coarsest: 16, growth: 1.5 };
/** Milliseconds between updates of the figures. */
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
  /** Number of photos requested, of photos requested but not yet loaded, and the number of the latest loaded one. */
  #asked = 0;
  #pending = 0;
  #latest = 0;

  /** `inTurn` runs changes of the training one after another; `isOpen` tells whether this view is open. */
  constructor({ engine, compute, notice, inTurn, isOpen }) {
    Object.assign(this, { engine, compute, notice, inTurn, isOpen });
    this.learnt = new LearntPicture($("learnt"));
    this.#wire();
  }

  /** Trains until this many steps are taken in all. Resolves when training has stopped and its picture is drawn. */
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

  /** Called when the view is opened. The first time, it paints a picture to learn. */
  async enter() {
    // Another view may be open again.
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

  /** Takes a file that was dropped or chosen. */
  takeFile(file) {
    return this.#choose(() => {
      checkSize(file);
      return this.engine.openPhoto(file, MOST);
    }, file.name);
  }

  /** Takes another photo and restarts the training with it. If that fails, reports why and keeps the photo before. */
  async #choose(open, name) {
    this.#asked += 1;
    this.#pending += 1;
    const mine = this.#asked;
    // Keep the message from the start of the page, which is not about a photo.
    if (this.#photo) this.notice.hide();
    try {
      const photo = Object.assign(await open(), { name });
      // A photo that was requested later is already loaded.
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

  /** Restarts the training, on `another` photo if given. It runs if the training before was running. */
  #anew(another = null) {
    return this.inTurn(async () => {
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
        // The first photo stays, for another try.
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

  /** No training could be made with these settings, so the page shows those of the current one again. */
  #stay({ levels }) {
    // The slider may have been moved meanwhile.
    if (this.#training && Number($("levels").value) === levels) $("levels").value = this.#training.options.levels;
    this.#tellSettings();
    this.#sayStands();
    this.#figures();
  }

  /** The chosen settings. */
  #settings() {
    return { levels: Number($("levels").value), wantsGpu: this.compute.isOnGpu };
  }

  /** Makes a training, from its beginning or from the state that `prepare` sets. */
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
    // Training is not part of this turn: it runs until the visitor pauses it.
    const begun = await this.inTurn(async () => {
      // Another request came first.
      if (!this.#training || this.#training.running) return null;
      await this.#training.finished;
      this.notice.hide();
      return this.#start(steps);
    });
    await begun?.finished;
  }

  /** Begins after all drawing is done, because the training's pace is measured. */
  async #start(steps) {
    $("photo-train").disabled = true;
    this.learnt.stop();
    await this.#drawing;
    // Another view was opened meanwhile.
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

  /** Continues on a new device, from the last snapshot. */
  async #goOn() {
    const isReady = await this.inTurn(async () => {
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

  // What is shown

  #everyFrame(now) {
    if (now - this.#figuresAt > FIGURES_EVERY) {
      this.#figuresAt = now;
      this.#figures();
    }
    // One slice at a time. The worker draws it after the steps that were begun before.
    if (!this.#isDrawing) this.#draw(() => this.learnt.draw());
  }

  /** Draws the whole picture of a paused training. */
  #drawAll() {
    const { stops } = this.learnt;
    return this.#draw(() => this.learnt.drawAll(stops));
  }

  /** Draws after the drawings requested before. */
  #draw(draw) {
    this.#isDrawing = true;
    const drawing = this.#drawing.then(async () => {
      const training = this.#training;
      try {
        await draw();
      } catch (error) {
        // Errors of a training that was replaced are not reported.
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

  /** Describes the grid's resolution, and tells whether the chosen device differs from the training's. */
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

  /** Switches to the chosen device at once if that loses nothing. */
  #follow() {
    this.#tellSettings();
    const training = this.#training;
    if (training && !training.isBegun && training.options.wantsGpu !== this.compute.isOnGpu) this.#anew();
  }
}
