// The page's events and messages, and the view of digits. The view of a photo is in `photo.js`.

import { Chart } from "./chart.js";
import { Compute } from "./device.js";
import { DigitGrid } from "./digits.js";
import { Engine } from "./engine.js";
import { capital, checkSize, tell } from "./mishaps.js";
import { Notice } from "./notice.js";
import { Pad } from "./pad.js";
import { Training } from "./training.js";
import { Views } from "./views.js";
import { WeightImages } from "./weights.js";

/** Seed and numbers of the synthetic digits. They are the digits of `train_gpu --data synthetic`. */
const SYNTHETIC = { seed: 1, train: 60000, test: 10000 };
/** Milliseconds between updates of the test digits, the weights and the pad during training. */
const LOOK_EVERY = 400;
/** Milliseconds for which digits are drawn before the page checks again whether they are still needed. */
const DRAWING_BUDGET = 30;

// Create the engine first, so that the worker is loaded while the rest of the page is set up.
const engine = new Engine();

const $ = (id) => document.getElementById(id);

const lossChart = new Chart($("loss-chart"), { scale: "log", ink: "accent" });
const accuracyChart = new Chart($("accuracy-chart"), { scale: "share", ink: "second" });
const grid = new DigitGrid($("digit-grid"), $("digits-summary"));
const weights = new WeightImages($("weights"), $("weights-summary"));
const notice = new Notice({
  box: $("notice"), text: $("notice-text"), action: $("notice-action"), close: $("notice-close"), back: () => $(TRAINS[views.open]),
});
const compute = new Compute(engine, { select: $("device"), name: $("adapter"), notice });
/** Maps each view to the id of its training button. */
const TRAINS = { digits: "train", photo: "photo-train" };

/** The current state of the page. */
const now = {
  data: null,
  reading: null, // resolves when the chosen files of a data set are read or have failed
  training: null,
  settings: "", // the settings of the training, as text
  losses: [],
  recent: [], // the last 50 losses, for the displayed mean
  accuracies: [],
  wantsToTrain: false,
  drawing: 0, // counts requests to draw digits, and data sets that replace a drawing
  lookedAt: 0,
  lookBusy: false,
};

let pad;
const views = new Views(["digits", "photo"], opened);
/** The photo view; undefined until it is opened for the first time. */
let photo;

/** Maximum number of losses that the page stores as numbers. The chart stores all losses in buckets. */
const LOSSES_KEPT = 100000;

// Runs asynchronous actions one after another, in the order of the calls. These actions may replace the training.
let turn = Promise.resolve();
const serialize = (act) => {
  const done = turn.then(act);
  turn = done.catch(() => {});
  return done;
};

// The interface for tests, and for curious visitors at the console. `state` is a copy. Its `losses[n]` is the loss of
// step n + 1, for the first 100,000 steps. `frameTimes` has the times in milliseconds between successive frames, for
// the last 600 frames during training. `readyAfter` and `firstStepAfter` are in milliseconds after the navigation.
const after = (mark) => performance.getEntriesByName(mark)[0]?.startTime ?? null;
window.wgrad = {
  get state() {
    const { training } = now;
    return {
      ready: document.documentElement.dataset.ready === "true",
      readyAfter: after("wgrad-ready"),
      firstStepAfter: after("wgrad-first-step"),
      adapter: $("adapter").textContent,
      device: (training ? training.isGpu : compute.isOnGpu) ? "gpu" : "cpu",
      data: now.data?.name ?? null,
      running: training?.running ?? false,
      drawingRead: pad?.isRead ?? false,
      steps: training?.steps ?? 0,
      stepsPerSecond: training?.stepsPerSecond ?? 0,
      frameTimes: [...(training?.frameTimes ?? [])],
      losses: [...now.losses],
      accuracies: now.accuracies.map((accuracy) => ({ ...accuracy })),
      plan: training?.session.plan ?? null,
    };
  },
  /** Trains until the training has taken this many steps in total. Resolves when training has stopped. */
  trainTo: (steps) => train(steps),
  /** Sets the maximum duration of an evaluation. */
  limitEvaluations: (milliseconds) => { Training.longestEvaluation = milliseconds; },
  /** Destroys the GPU device, with the same effect as a driver reset. */
  loseDevice: () => compute.gpu?.device?.lose(),
  /** The photo view, with a `state` and a `trainTo` of its own; null until it is opened. */
  get photo() { return photo ?? null; },
};

async function start() {
  wire();
  const found = serialize(() => Promise.all([compute.find(), furnish()]));
  views.begin();
  await found;
  await engine.ready;
  tellDevice();
  $("train").disabled = false;
  document.documentElement.dataset.ready = "true";
  performance.mark("wgrad-ready");
  await haveDigits();
}

/** Called when a view is opened. Pauses the training of the other view. */
function opened(view) {
  $("skip").hash = TRAINS[view];
  if (view === "photo") {
    now.wantsToTrain = false;
    if (now.training?.running) pause();
    openPhoto().then((view) => view.enter()).catch(fail);
    return;
  }
  photo?.leave();
  tellDevice();
  tellSettings();
  redraw();
  haveDigits().catch(fail);
}

/** Loads the code of the photo view on the first call. */
async function openPhoto() {
  const { PhotoView } = await import("./photo.js");
  photo ??= new PhotoView({ engine, compute, notice, serialize, isOpen: () => views.open === "photo" });
  return photo;
}

/** Draws synthetic digits if the view of digits is open and has no data set yet. */
async function haveDigits() {
  if (document.documentElement.dataset.ready !== "true") return;
  await now.reading;
  if (views.open === "digits" && !now.data && now.drawing === 0) await drawDigits();
}

const task = () => new Promise((resolve) => setTimeout(resolve));

/** Sets up parts that the first frame does not need. Each part is a separate task, so that no task takes long. */
async function furnish() {
  await task();
  pad = new Pad({ canvas: $("pad"), bars: $("bars"), seen: $("pad-seen"), guess: $("guess"), clearButton: $("pad-clear") },
    (ink, width) => engine.asMnist(ink, width), { changed: readDrawing, failed: fail });
  await task();
  if (window.innerWidth > 900) $("settings-details").open = true;
}

/** Shows the device of the view of digits, if that view is open. */
function tellDevice() {
  if (views.open === "digits") compute.tell(now.training ? now.training.isGpu : compute.isOnGpu);
}

// Data

async function drawDigits() {
  now.drawing += 1;
  const mine = now.drawing;
  const { seed, train, test } = SYNTHETIC;
  const digits = await engine.beginDigits(seed, train, test);
  const total = train + test;
  const progress = $("progress");
  progress.hidden = false;
  say("Drawing digits for training…");
  let remaining = total;
  while (remaining > 0) {
    remaining = await digits.draw(DRAWING_BUDGET);
    progress.value = 1 - remaining / total;
    await now.reading;
    // Wait for actions on the training: a training that starts measures its pace, and drawing would distort this.
    await turn;
    // Stop if another data set was chosen meanwhile, or if another drawing was started.
    if (now.drawing !== mine) {
      digits.free();
      return;
    }
  }
  progress.hidden = true;
  await serialize(async () => useData(await digits.finish()));
}

/** Switches to a data set and makes a new training on it. If that fails, keeps the previous data set and throws. */
async function useData(data) {
  await quit();
  let training = null;
  try {
    training = await newTraining(data, settings());
  } catch (error) {
    if (now.data) {
      data.free();
      throw error;
    }
    fail(error);
  }
  const before = now.data;
  now.data = data;
  grid.show(data);
  const count = (number) => number.toLocaleString("en");
  $("data-name").textContent = `${capital(data.name)}: ${count(data.trainCount)} for training, ${count(data.testCount)} for testing.`;
  $("synthetic").hidden = data.name === "synthetic digits";
  if (training) await takeNew(training);
  before?.free();
  if (training && now.wantsToTrain) {
    now.wantsToTrain = false;
    // Do not wait for the training, because it can start only after this action.
    train();
  }
}

function openDataFiles(files) {
  const reading = readDataFiles(files).finally(() => { if (now.reading === reading) now.reading = null; });
  now.reading = reading;
}

async function readDataFiles(files) {
  try {
    say("Reading the data set…");
    files.forEach(checkSize);
    const data = await engine.openFiles(files);
    notice.hide();
    now.drawing += 1;
    $("progress").hidden = true;
    await serialize(() => useData(data));
  } catch (error) {
    if (now.data) say(`Still using ${now.data.name}.`);
    fail(error);
  }
}

// Training

/** Maximum number of weights on the CPU. With gradients, optimizer state and snapshot, they take a gigabyte. */
const MOST_ON_CPU = 5e7;

/** Reads the settings from the form. Throws an error that names an invalid setting. */
function settings() {
  const network = $("network").value;
  const isDense = network === "two-layer";
  // Do not check settings that the chosen network does not use.
  const text = isDense ? $("hidden").value.trim() : "";
  const widths = text === "" ? [] : text.split(",").map((part) => Number(part.trim()));
  if (!widths.every((width) => Number.isInteger(width) && width >= 1 && width < 2 ** 32)) {
    throw settingError($("hidden"), "Hidden layers must be whole numbers from 1 to 4,294,967,295, such as 100, 50; found");
  }
  for (const [id, name] of [["learning-rate", "Learning rate"], ["batch", "Batch size"], ["seed", "Seed"]]) {
    if ($(id).value === "" || !$(id).checkValidity()) throw settingError($(id), `${name} is out of range:`);
  }
  const sizes = [...widths, now.data?.classes ?? 10];
  const count = sizes.reduce((sum, width, at) => sum + width * (at === 0 ? 784 : sizes[at - 1]), 0);
  if (!compute.isOnGpu && isDense && count > MOST_ON_CPU) {
    throw settingError($("hidden"), `On the CPU, the layers may have at most ${MOST_ON_CPU.toLocaleString("en")} weights, because a tab has no memory for more; found`);
  }
  return {
    network,
    hidden: Uint32Array.from(widths),
    activation: $("activation").value,
    optimizer: $("optimizer").value,
    learningRate: Number($("learning-rate").value),
    batch: Number($("batch").value),
    seed: Number($("seed").value),
    plan: $("plan").value,
    isOnGpu: compute.isOnGpu,
    text: settingsText(),
  };
}

function settingError(input, message) {
  const error = new Error(`${message} ${input.value === "" ? "empty" : `“${input.value}”`}.`);
  error.name = "Setting";
  return error;
}

const settingsText = () => JSON.stringify([...new FormData($("settings")).entries()]);

/** Restarts the training with the settings of the form. Returns whether that succeeded. */
async function reset() {
  try {
    await quit();
    await takeNew(await newTraining(now.data, settings()));
  } catch (error) {
    if (now.training) {
      sayStands();
      figures();
    }
    fail(error);
    return false;
  }
  return true;
}

/** Stops the current training. Its last results are not read, because they are no longer needed. */
async function quit() {
  await now.training?.quit();
  runs("stands");
}

async function takeNew(training) {
  take(training);
  sayStands();
  await look(true);
}

/** Replaces the current training, and resets what the page shows of it. */
function take(training) {
  now.training?.session.free();
  now.training = training;
  now.losses = [];
  now.recent = [];
  now.accuracies = [];
  now.settings = training.options.text;
  lossChart.reset();
  accuracyChart.reset();
  $("loss-chart").setAttribute("aria-label", "Loss by step: none yet");
  $("accuracy-chart").setAttribute("aria-label", "Test accuracy by step: none yet");
  document.documentElement.dataset.network = training.options.network;
  $("plan-name").textContent = `A step: ${training.session.plan}.`;
  tellDevice();
  tellSettings();
  for (const id of ["reset", "save"]) $(id).disabled = false;
  runs("stands");
  figures();
  drawCharts();
}

/** Makes a training. `prepare` may set its initial state, for example from a file. */
function newTraining(data, options, prepare = () => {}) {
  const chosen = {};
  for (const name of ["network", "hidden", "activation", "optimizer", "learningRate", "batch", "seed", "plan"]) {
    chosen[name] = options[name];
  }
  return compute.use(options.isOnGpu, async (device) => {
    const session = await engine.openSession(device.gpu, data, chosen);
    return new Training(session, device, options, {
      losses: addLosses,
      evaluated: addEvaluation,
      evaluating: (share) => say(`Testing: ${Math.round(100 * share)}% of the test set…`),
      frame: everyFrame,
      stopped,
    }).prepared(prepare);
  });
}

async function train(steps) {
  if (now.training?.running) return;
  if (!now.data) {
    now.wantsToTrain = true;
    say("Training begins when the digits are drawn…");
    return;
  }
  // The action ends when training has started. Training itself runs until the visitor pauses it.
  const begun = await serialize(async () => {
    await now.training?.finished;
    if (!now.training || (!now.training.isBegun && now.settings !== settingsText())) {
      if (!await reset()) return null;
    }
    // Do not start if another view was opened meanwhile.
    if (views.open !== "digits") return null;
    notice.hide();
    const { training } = now;
    runs("runs");
    sayTraining();
    await training.start(steps);
    return { finished: training.finished };
  });
  await begun?.finished;
}

const sayTraining = () => say(`Training on ${now.training.isGpu ? "the GPU" : "the CPU"}…`);

function sayStands() {
  const { steps } = now.training;
  say(steps > 0 ? `Paused after ${steps.toLocaleString("en")} steps.` : "Ready: press Train.");
}

/** Pauses the training. The last losses and the last evaluation arrive later. */
function pause() {
  now.training.pause();
  runs("stops");
}

function stopped(error) {
  runs("stands");
  if (error) {
    fail(error);
  } else {
    sayStands();
    look(true);
  }
  figures();
  drawCharts();
}

function runs(state) {
  const again = now.training?.steps > 0 ? "Go on" : "Train";
  $("train").textContent = { runs: "Pause", stops: "Pausing…", stands: again }[state];
  $("train").disabled = state === "stops";
  document.documentElement.dataset.running = state === "runs";
}

function addLosses(losses, first) {
  losses.forEach((loss, index) => {
    lossChart.push(first + index + 1, loss);
    if (first + index < LOSSES_KEPT) now.losses[first + index] = loss;
    now.recent.push(loss);
  });
  now.recent = now.recent.slice(-50);
}

function addEvaluation(evaluation) {
  const { examples } = evaluation;
  // On a slow device, an evaluation uses only a part of the test set.
  $("accuracy-of").textContent = examples === now.data.testCount
    ? "on the whole test set"
    : `on ${examples.toLocaleString("en")} of ${now.data.testCount.toLocaleString("en")} test digits: testing all takes too long here`;
  if (now.training.running) sayTraining();
  now.accuracies.push(evaluation);
  accuracyChart.push(evaluation.step, evaluation.accuracy);
}

let chartsAt = 0;

function everyFrame(time) {
  if (time - chartsAt > 150) {
    chartsAt = time;
    figures();
    drawCharts();
  }
  if (time - now.lookedAt > LOOK_EVERY) look(false);
}

function drawCharts() {
  for (const chart of [lossChart, accuracyChart]) {
    chart.reach(now.training?.steps ?? 0);
    chart.draw();
  }
}

/** Formats a number with a fixed number of decimals, or returns a dash if it is not finite. */
const shown = (value, digits) => (Number.isFinite(value) ? value.toFixed(digits) : "–");

function figures() {
  const { training } = now;
  const set = (id, text) => { if ($(id).textContent !== text) $(id).textContent = text; };
  const loss = lossChart.series.last?.y;
  const recent = now.recent.filter(Number.isFinite);
  const mean = recent.reduce((sum, each) => sum + each, 0) / recent.length;
  const accuracy = now.accuracies.at(-1)?.accuracy;
  set("steps", training ? training.steps.toLocaleString("en") : "0");
  const rate = training?.stepsPerSecond ?? 0;
  set("rate", rate > 0 ? rate.toLocaleString("en", { maximumFractionDigits: rate < 10 ? 1 : 0 }) : "–");
  set("loss", shown(mean, 4));
  set("accuracy", accuracy === undefined ? "–" : `${(100 * accuracy).toFixed(2)}%`);
  if (loss !== undefined) {
    $("loss-chart").setAttribute("aria-label", `Loss by step: ${shown(mean, 4)} after ${training.steps} steps`);
  }
  if (accuracy !== undefined) {
    $("accuracy-chart").setAttribute("aria-label", `Test accuracy by step: ${shown(100 * accuracy, 2)} percent`);
  }
}

/** Updates the test digits, the weights and the pad with the network's current weights. */
async function look(isWanted) {
  now.lookedAt = performance.now();
  const { training } = now;
  if (!training || (now.lookBusy && !isWanted)) return;
  now.lookBusy = true;
  try {
    await Promise.all([grid.update(training.session), weights.update(training), pad.update(training.session)]);
  } catch (error) {
    readFailed(training, error);
  } finally {
    now.lookBusy = false;
  }
}

/** Classifies the drawing on the pad with the current weights. */
function readDrawing() {
  const { training } = now;
  if (training) pad.update(training.session).catch((error) => readFailed(training, error));
}

/**
 * Reports an error of a training, and stops the training if it runs. Ignores errors of a training that was replaced.
 */
function readFailed(training, error) {
  if (training.running) training.fail(error);
  else if (training === now.training) fail(error);
}

// Weights

async function save() {
  const { training } = now;
  const { steps } = training;
  try {
    const file = await training.session.save();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([file], { type: "application/octet-stream" }));
    link.download = `wgrad-step-${steps}.safetensors`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    say(`Saved as ${link.download}.`);
  } catch (error) {
    fail(error);
  }
}

/** Resumes the training in a file. If the file is of another training, loads only its weights and reports this. */
async function load(file) {
  if (!now.data) {
    notice.show("Info", `There is no data yet: choose ${file.name} again when the digits are drawn.`);
    return;
  }
  let bytes;
  try {
    checkSize(file);
    bytes = new Uint8Array(await file.arrayBuffer());
  } catch (error) {
    fail(error);
    return;
  }
  await serialize(() => loadBytes(file, bytes));
}

async function loadBytes(file, bytes) {
  let other;
  try {
    await now.training?.pause();
    const training = await newTraining(now.data, settings(), async (each) => {
      other = await goOnOrTakeWeights(each, bytes);
    });
    take(training);
    notice.hide();
    if (other) {
      say(`Loaded the weights of ${file.name}.`);
      notice.show("Info", `Loaded the weights of ${file.name}, but its training cannot go on here. ${capital(other.message)}`);
    } else {
      say(`Went on from ${file.name}, step ${training.steps.toLocaleString("en")}.`);
    }
    await look(true);
  } catch (error) {
    say(`Nothing was loaded from ${file.name}.`);
    fail(error);
  }
}

/**
 * Resumes the training in a file and returns null. If that fails, loads only the weights, and returns the error that
 * prevented resuming.
 */
async function goOnOrTakeWeights(training, file) {
  try {
    await training.resume(file);
    return null;
  } catch (error) {
    await training.takeWeights(file);
    return error;
  }
}

// Mishaps

const say = (text) => { $("status").textContent = text; };

function fail(error) {
  tell(error, notice, { training: now.training, say, reset: () => serialize(reset), goOn });
}

/** Continues the training on a new device, from the last snapshot and with the same settings. */
async function goOn() {
  const isReady = await serialize(async () => {
    try {
      const old = now.training;
      await quit();
      const training = await newTraining(now.data, old?.options ?? settings(), (each) => each.goOnFrom(old));
      const { losses, recent, accuracies } = now;
      const charts = [lossChart.series, accuracyChart.series];
      take(training);
      if (!old?.snapshot) return true;
      Object.assign(now, { losses: losses.slice(0, training.steps), recent });
      now.accuracies = accuracies.filter(({ step }) => step <= training.steps);
      [lossChart.series, accuracyChart.series] = charts;
      return true;
    } catch (error) {
      fail(error);
      return false;
    }
  });
  if (isReady) await train();
}

// Controls

function wire() {
  $("train").addEventListener("click", () => (now.training?.running ? pause() : train()));
  $("reset").addEventListener("click", () => {
    notice.hide();
    serialize(reset);
  });
  $("network").addEventListener("change", chooseNetwork);
  $("optimizer").addEventListener("change", chooseOptimizer);
  $("settings").addEventListener("input", tellSettings);
  // The browser resets the fields only after this event, so update the page in a later task.
  $("settings").addEventListener("reset", () => setTimeout(showNetwork));
  showNetwork();
  $("settings").addEventListener("submit", (event) => event.preventDefault());
  $("device").addEventListener("change", () => {
    if (views.open !== "digits") return;
    tellSettings();
    if (now.data && !now.training?.isBegun) serialize(reset);
  });
  $("synthetic").addEventListener("click", () => drawDigits().catch(fail));
  $("save").addEventListener("click", save);
  $("data-files").addEventListener("change", (event) => {
    const files = [...event.target.files];
    event.target.value = "";
    if (files.length > 0) openDataFiles(files);
  });
  $("weights-file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    event.target.value = "";
    if (file) load(file);
  });
  wireDrop();
  window.addEventListener("resize", redraw);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  redraw();
}

/** Chooses the optimizer with which the book trains the network. */
function chooseNetwork() {
  $("optimizer").value = $("network").selectedOptions[0].dataset.optimizer;
  chooseOptimizer();
  showNetwork();
}

function chooseOptimizer() {
  $("learning-rate").value = $("optimizer").selectedOptions[0].dataset.rate;
}

/** Shows only the settings that apply to the chosen network. */
function showNetwork() {
  const network = $("network").value;
  $("settings").dataset.network = network;
  const fused = $("plan").querySelector("[value=fused]");
  fused.disabled = network !== "two-layer";
  if (fused.disabled && fused.selected) $("plan").value = "auto";
  tellSettings();
}

function wireDrop() {
  const shade = $("drop");
  const take = (files) => {
    if (views.open === "photo") openPhoto().then((view) => view.takeFile(files[0])).catch(fail);
    else takeFiles(files);
  };
  window.addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    shade.hidden = false;
  });
  window.addEventListener("dragleave", (event) => { if (!event.relatedTarget) shade.hidden = true; });
  window.addEventListener("drop", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    shade.hidden = true;
    const files = [...event.dataTransfer.files];
    if (files.length > 0) take(files);
  });
}

/** Opens dropped or chosen files: a file with weights, or the files of a data set. */
function takeFiles(files) {
  const weightFile = files.find((file) => file.name.toLowerCase().endsWith(".safetensors"));
  if (weightFile) load(weightFile);
  else openDataFiles(files);
}

let redrawIsDue = false;

/** Redraws at most once per frame, however often it is called. */
function redraw() {
  if (redrawIsDue) return;
  redrawIsDue = true;
  requestAnimationFrame(() => {
    redrawIsDue = false;
    lossChart.due = accuracyChart.due = true;
    drawCharts();
    look(false);
  });
}

/** Shows on the page whether the form differs from the settings of the training. */
function tellSettings() {
  const differs = now.training?.isBegun && now.settings !== settingsText();
  $("settings-note").textContent = differs ? "Press Reset to apply the changed settings." : "";
  $("reset").classList.toggle("due", Boolean(differs));
}

window.addEventListener("error", (event) => fail(event.error ?? event));
window.addEventListener("unhandledrejection", (event) => fail(event.reason));
start().catch(fail);
