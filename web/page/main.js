// The page: what happens when, and what is said about it.

import init, { Data, Device, Digits, Session, Settings } from "./wasm/wgrad_web.js";
import { Chart } from "./chart.js";
import { DigitGrid } from "./digits.js";
import { Notice } from "./notice.js";
import { Pad } from "./pad.js";
import { Training, frame } from "./training.js";
import { WeightImages } from "./weights.js";

/** The digits that `train_gpu --data synthetic` draws. */
const SYNTHETIC = { seed: 1, train: 60000, test: 10000 };
/** Milliseconds between looks at digits, weights and drawing. */
const LOOK_EVERY = 400;
/** Milliseconds of drawing digits between two frames. */
const DRAWING_BUDGET = 10;

const $ = (id) => document.getElementById(id);

const BROWSERS = "WebGPU is in Chrome and Edge from version 113 (on Android 121), in Safari from 26, and in "
  + "Firefox from 141 on Windows and 145 on Macs with Apple silicon.";

const lossChart = new Chart($("loss-chart"), { scale: "log", ink: "accent" });
const accuracyChart = new Chart($("accuracy-chart"), { scale: "share", ink: "second" });
const grid = new DigitGrid($("digits"), $("digits-summary"));
const weights = new WeightImages($("weights"), $("weights-summary"));
const notice = new Notice({ box: $("notice"), text: $("notice-text"), action: $("notice-action"), close: $("notice-close") });

/** What there is at the moment. */
const now = {
  gpu: null, // the GPU's Device, its name and whether it is a software driver
  gpuName: "",
  data: null,
  training: null,
  settings: "", // those of the training, as text
  losses: [],
  accuracies: [],
  lookedAt: 0,
  lookBusy: false,
};

let pad;

// What a test, or a curious visitor at the console, asks of the page. `state` is a copy; its `losses[n]` is
// that of step n + 1, and `frameTimes` are milliseconds between the last 600 frames while it trained.
window.wgrad = {
  get state() {
    const { training } = now;
    return {
      ready: document.documentElement.dataset.ready === "true",
      readyAfter: performance.getEntriesByName("wgrad-ready")[0]?.startTime ?? null,
      adapter: $("adapter").textContent,
      device: $("device").value,
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
  /** Trains until so many steps are taken in all; resolves when it stands. */
  trainTo: (steps) => train(steps),
  /** Loses the GPU device, as a driver that is reset does. */
  loseDevice: () => now.gpu?.destroy(),
};

window.addEventListener("error", (event) => fail(event.error ?? event));
window.addEventListener("unhandledrejection", (event) => fail(event.reason));
start().catch(fail);

async function start() {
  await init();
  await openGpu();
  pad = new Pad({ canvas: $("pad"), bars: $("bars"), seen: $("pad-seen"), guess: $("guess"), clearButton: $("pad-clear") }, () => look(true));
  wire();
  tellDevice();
  $("train").disabled = false;
  document.documentElement.dataset.ready = "true";
  performance.mark("wgrad-ready");
  await drawDigits();
}

/** The GPU if there is one; else the page says why not, and that the CPU computes. */
async function openGpu() {
  const withoutGpu = (reason) => {
    $("device").value = "cpu";
    $("device").querySelector("[value=gpu]").disabled = true;
    notice.show("NoWebGPU", `${reason} Training runs on the CPU instead, in WebAssembly. ${BROWSERS}`);
  };
  if (!navigator.gpu) {
    withoutGpu(window.isSecureContext
      ? "This browser has no WebGPU, or it is switched off."
      : "Browsers offer WebGPU only to pages from https or from localhost.");
    return;
  }
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) {
    withoutGpu("This browser knows WebGPU, but offers no GPU on this machine.");
    return;
  }
  try {
    now.gpu = await Device.gpu();
  } catch (error) {
    withoutGpu(`The GPU could not be opened: ${error.message}.`);
    return;
  }
  const { description, device, architecture, vendor } = adapter.info;
  now.gpuName = description || [vendor, architecture, device].filter(Boolean).join(" ") || "GPU";
}

const isOnGpu = () => $("device").value === "gpu" && now.gpu !== null;

function tellDevice() {
  const text = !isOnGpu()
    ? "CPU, in WebAssembly"
    : now.gpu.isSoftware ? `${now.gpuName}, a software driver: the CPU is faster` : now.gpuName;
  $("adapter").textContent = text;
  document.documentElement.dataset.device = isOnGpu() ? "gpu" : "cpu";
}

// Data

async function drawDigits() {
  const digits = new Digits(SYNTHETIC.seed, SYNTHETIC.train, SYNTHETIC.test);
  const total = SYNTHETIC.train + SYNTHETIC.test;
  const progress = $("progress");
  progress.hidden = false;
  say("Drawing digits to learn from…");
  let remaining = total;
  while (remaining > 0) {
    const end = performance.now() + DRAWING_BUDGET;
    while (remaining > 0 && performance.now() < end) remaining = digits.draw(50);
    progress.value = 1 - remaining / total;
    await frame();
  }
  progress.hidden = true;
  await useData(digits.finish());
}

async function useData(data) {
  await now.training?.pause();
  const before = now.data;
  now.data = data;
  grid.show(data);
  const count = (number) => number.toLocaleString("en");
  $("data-name").textContent = `${capital(data.name)}: ${count(data.trainCount)} to learn from, ${count(data.testCount)} to test with.`;
  $("synthetic").hidden = data.name === "synthetic digits";
  await reset();
  before?.free();
}

/** A sentence begins with a capital, unless with the name of a file. */
const capital = (text) => (/^[a-z]+\s/.test(text) ? text[0].toUpperCase() + text.slice(1) : text);

async function openDataFiles(files) {
  try {
    say("Reading the data set…");
    const contents = await Promise.all(files.map(async (file) => new Uint8Array(await file.arrayBuffer())));
    await useData(Data.fromFiles(files.map((file) => file.name), contents));
    notice.hide();
  } catch (error) {
    say(`Still on ${now.data?.name ?? "no data"}.`);
    fail(error);
  }
}

// Training

/** The settings of the form; an error says which of them is none. */
function settings() {
  const text = $("hidden").value.trim();
  const widths = text === "" ? [] : text.split(",").map((part) => Number(part.trim()));
  if (!widths.every((width) => Number.isInteger(width) && width >= 1 && width <= 65535)) {
    throw settingError($("hidden"), "Hidden layers must be whole numbers from 1 to 65535, such as 100, 50; found");
  }
  for (const [id, name] of [["learning-rate", "Learning rate"], ["batch", "Batch size"], ["seed", "Seed"]]) {
    if ($(id).value === "" || !$(id).checkValidity()) throw settingError($(id), `${name} is out of range:`);
  }
  const made = new Settings();
  made.hidden = Uint32Array.from(widths);
  made.activation = $("activation").value;
  made.optimizer = $("optimizer").value;
  made.learningRate = Number($("learning-rate").value);
  made.batch = Number($("batch").value);
  made.seed = Number($("seed").value);
  made.plan = $("plan").value;
  return made;
}

function settingError(input, message) {
  const error = new Error(`${message} ${input.value === "" ? "empty" : `“${input.value}”`}.`);
  error.name = "Setting";
  return error;
}

const settingsText = () => JSON.stringify([...new FormData($("settings")).entries()]);

/** A training from its beginning with the settings of the form; whether that can be. */
async function reset() {
  await now.training?.pause();
  try {
    take(newTraining());
  } catch (error) {
    fail(error);
    return false;
  }
  say("Ready: press Train.");
  await look(true);
  return true;
}

/** This training in place of the one before. */
function take(training) {
  now.training?.session.free();
  now.training = training;
  now.losses = [];
  now.accuracies = [];
  now.settings = settingsText();
  lossChart.reset();
  accuracyChart.reset();
  $("plan-name").textContent = `A step: ${training.session.plan}.`;
  tellDevice();
  tellSettings();
  for (const id of ["reset", "save"]) $(id).disabled = false;
  runs(false);
  figures();
  drawCharts();
}

function newTraining() {
  const device = isOnGpu() ? now.gpu : Device.cpu();
  const made = settings();
  try {
    const session = new Session(device, now.data, made);
    return new Training(session, device, {
      losses: addLosses,
      evaluated: addEvaluation,
      frame: everyFrame,
      stopped,
    });
  } finally {
    made.free();
    if (device !== now.gpu) device.free();
  }
}

async function train(steps) {
  if (!now.data) {
    now.wantsToTrain = true;
    say("Training begins when the digits are drawn…");
    return;
  }
  if (!now.training || (now.training.steps === 0 && now.settings !== settingsText())) {
    if (!await reset()) return;
  }
  notice.hide();
  const finished = now.training.start(steps);
  runs(true);
  say(`Training on ${isOnGpu() ? "the GPU" : "the CPU"}…`);
  await finished;
}

function stopped(error) {
  runs(false);
  const { training } = now;
  if (error) {
    fail(error);
  } else {
    say(`Paused after ${training.steps.toLocaleString("en")} steps.`);
    look(true);
  }
  figures();
  drawCharts();
}

function runs(isRunning) {
  $("train").textContent = isRunning ? "Pause" : now.training?.steps > 0 ? "Go on" : "Train";
  document.documentElement.dataset.running = isRunning;
}

function addLosses(losses, first) {
  losses.forEach((loss, index) => {
    lossChart.push(first + index + 1, loss);
    now.losses[first + index] = loss;
  });
}

function addEvaluation(evaluation) {
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

/** A short number for people. */
const shown = (value, digits) => (Number.isFinite(value) ? value.toFixed(digits) : "–");

function figures() {
  const { training } = now;
  const set = (id, text) => { if ($(id).textContent !== text) $(id).textContent = text; };
  const loss = lossChart.series.last?.y;
  const recent = now.losses.slice(-50).filter(Number.isFinite);
  const mean = recent.reduce((sum, each) => sum + each, 0) / recent.length;
  const accuracy = now.accuracies.at(-1)?.accuracy;
  set("steps", training ? training.steps.toLocaleString("en") : "0");
  const rate = training?.stepsPerSecond ?? 0;
  set("rate", rate > 0 ? Math.round(rate).toLocaleString("en") : "–");
  set("loss", shown(mean, 4));
  set("accuracy", accuracy === undefined ? "–" : `${(100 * accuracy).toFixed(2)}%`);
  if (loss !== undefined) {
    $("loss-chart").setAttribute("aria-label", `Loss by step: ${shown(mean, 4)} after ${training.steps} steps`);
  }
  if (accuracy !== undefined) {
    $("accuracy-chart").setAttribute("aria-label", `Test accuracy by step: ${shown(100 * accuracy, 2)} percent`);
  }
}

/** Looks at the digits, the weights and the drawing with the present weights. */
async function look(isWanted) {
  now.lookedAt = performance.now();
  const { training } = now;
  if (!training || (now.lookBusy && !isWanted)) return;
  now.lookBusy = true;
  try {
    await Promise.all([grid.update(training.session), weights.update(training.session), pad.update(training.session)]);
  } catch (error) {
    if (training.running) training.fail(error);
    else if (training === now.training) fail(error);
  } finally {
    now.lookBusy = false;
  }
}

// Weights

async function save() {
  const { training } = now;
  try {
    const file = await training.session.save();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([file], { type: "application/octet-stream" }));
    link.download = `wgrad-step-${training.steps}.safetensors`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    say(`Saved as ${link.download}.`);
  } catch (error) {
    fail(error);
  }
}

/** Goes on with the training in a file; where it is of another, takes its weights, and says so. */
async function load(file) {
  if (!now.data) return;
  await now.training?.pause();
  let training = null;
  try {
    const bytes = new Uint8Array(await file.arrayBuffer());
    training = newTraining();
    const other = goOnOrTakeWeights(training, bytes);
    take(training);
    notice.hide();
    if (other) {
      say(`Took the weights of ${file.name}.`);
      notice.show("Info", `Took the weights of ${file.name}; its training cannot go on here. ${capital(other.message)}`);
    } else {
      say(`Went on from ${file.name}, step ${training.steps.toLocaleString("en")}.`);
    }
    await look(true);
  } catch (error) {
    if (training !== now.training) training?.session.free();
    say(`Nothing was loaded from ${file.name}.`);
    fail(error);
  }
}

/** Why the training of a file does not go on and only its weights were taken, if so. */
function goOnOrTakeWeights(training, file) {
  try {
    training.resume(file);
    return null;
  } catch (error) {
    training.session.setWeights(file);
    return error;
  }
}

// Mishaps

const say = (text) => { $("status").textContent = text; };

/** Says what happened and, where something can be done, offers it. */
function fail(error) {
  const name = error?.name ?? "Error";
  const message = capital(error?.message ?? `${error}`);
  const again = { label: "Reset", act: reset };
  switch (name) {
    case "DeviceLost": {
      const { snapshot, snapshotStep } = now.training ?? {};
      const from = snapshot ? `from step ${snapshotStep.toLocaleString("en")}` : "from the beginning";
      say("The GPU was lost.");
      notice.show(name, "The browser lost the GPU, and what was on it: its driver was reset or updated, or it "
        + `was unplugged. Training can go on ${from}.`, { label: `Go on ${from}`, act: goOn });
      break;
    }
    case "Diverged":
      say("Training diverged.");
      notice.show(name, message, again);
      break;
    case "OutOfMemory":
      say("The GPU has no memory left.");
      notice.show(name, message, again);
      break;
    case "Plan":
      notice.show(name, message.replace(/ Use StepPlan.*/, " Choose another plan."));
      break;
    default:
      notice.show(name, message);
  }
}

/** A new device, and on it the last state that was kept. */
async function goOn() {
  const { snapshot } = now.training;
  const [losses, accuracies] = [now.losses, now.accuracies];
  const charts = [lossChart.series, accuracyChart.series];
  now.gpu.free();
  now.gpu = null;
  await openGpu();
  if (!await reset() || !snapshot) return;
  const { training } = now;
  training.resume(snapshot);
  now.losses = losses.slice(0, training.steps);
  now.accuracies = accuracies.filter(({ step }) => step <= training.steps);
  [lossChart.series, accuracyChart.series] = charts;
  await train();
}

// Controls

function wire() {
  $("train").addEventListener("click", () => (now.training?.running ? now.training.pause() : train()));
  $("reset").addEventListener("click", () => {
    notice.hide();
    reset();
  });
  $("optimizer").addEventListener("change", (event) => {
    $("learning-rate").value = event.target.selectedOptions[0].dataset.rate;
  });
  $("settings").addEventListener("input", tellSettings);
  $("settings").addEventListener("submit", (event) => event.preventDefault());
  $("device").addEventListener("change", () => { if (!now.training?.steps) reset(); });
  $("synthetic").addEventListener("click", drawDigits);
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
  if (window.innerWidth <= 900) $("settings-details").open = false;
  redraw();
}

function wireDrop() {
  const shade = $("drop");
  window.addEventListener("dragover", (event) => {
    event.preventDefault();
    shade.hidden = false;
  });
  window.addEventListener("dragleave", (event) => { if (!event.relatedTarget) shade.hidden = true; });
  window.addEventListener("drop", (event) => {
    event.preventDefault();
    shade.hidden = true;
    const files = [...event.dataTransfer.files];
    const weightFile = files.find((file) => file.name.endsWith(".safetensors"));
    if (weightFile) load(weightFile);
    else if (files.length > 0) openDataFiles(files);
  });
}

function redraw() {
  lossChart.due = accuracyChart.due = true;
  drawCharts();
  if (now.training) look(true);
}

/** Says whether the form differs from what is trained. */
function tellSettings() {
  const differs = now.training !== null && now.training.steps > 0 && now.settings !== settingsText();
  $("settings-note").textContent = differs ? "Changed settings take effect with Reset." : "";
  $("reset").classList.toggle("due", differs);
}
