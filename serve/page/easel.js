// A picture to choose, and where props.paints is set, to paint on. Its value is a JSON text {image, mask, note} with data
// URLs. Strokes live on a canvas of the picture's own pixels, so that the mask says exactly what is seen.
const MOST_PIXELS = props.max_pixels;
const find = (name) => element.querySelector(`.${name}`);
const state = { image: null, note: "", radius: 5, last: null };

const context = (name) => find(name).getContext("2d", { willReadFrequently: true });

function loaded(url) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error("not a picture"));
    image.src = url;
  });
}

function read(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

// A photo of a camera has more pixels than the endpoint takes: only then is it made smaller here.
async function reduced(url) {
  const image = await loaded(url);
  const share = Math.sqrt(MOST_PIXELS / (image.naturalWidth * image.naturalHeight));
  if (share >= 1 && /^data:image\/(png|jpeg|webp);/.test(url)) return url;
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.floor(image.naturalWidth * Math.min(1, share)));
  canvas.height = Math.max(1, Math.floor(image.naturalHeight * Math.min(1, share)));
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/png");
}

async function choose(file) {
  if (!file) return;
  try {
    props.value = JSON.stringify({ image: await reduced(await read(file)), mask: null, note: "" });
    trigger("upload");
  } catch {
    find("easel-note").textContent = "This file is no picture that the browser can read.";
  }
}

function mask() {
  const { width, height } = find("easel-strokes");
  const strokes = context("easel-strokes").getImageData(0, 0, width, height);
  let marked = 0;
  for (let at = 0; at < strokes.data.length; at += 4) {
    const white = strokes.data[at + 3] > 127;
    marked += white;
    strokes.data.set(white ? [255, 255, 255, 255] : [0, 0, 0, 255], at);
  }
  if (!marked) return null;
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  canvas.getContext("2d").putImageData(strokes, 0, 0);
  return canvas.toDataURL("image/png");
}

function keep() {
  props.value = JSON.stringify({ image: state.image, mask: mask(), note: state.note });
}

async function show() {
  const value = props.value ? JSON.parse(props.value) : {};
  element.querySelector(".easel").classList.toggle("empty", !value.image);
  if (!value.image) return;
  const image = await loaded(value.image);
  Object.assign(state, { image: value.image, note: value.note });
  for (const name of ["easel-picture", "easel-strokes"]) {
    Object.assign(find(name), { width: image.naturalWidth, height: image.naturalHeight });
  }
  context("easel-picture").drawImage(image, 0, 0);
  find("easel-stage").style.aspectRatio = `${image.naturalWidth} / ${image.naturalHeight}`;
  find("easel-stage").classList.toggle("small", Math.max(image.naturalWidth, image.naturalHeight) < 256);
  find("easel-note").textContent = value.note;
}

function place(event) {
  const strokes = find("easel-strokes");
  const box = strokes.getBoundingClientRect();
  return {
    x: ((event.clientX - box.left) / box.width) * strokes.width,
    y: ((event.clientY - box.top) / box.height) * strokes.height,
  };
}

function paint(event) {
  const strokes = context("easel-strokes");
  const to = place(event);
  const from = state.last ?? to;
  const unit = Math.max(strokes.canvas.width, strokes.canvas.height) / 64;
  strokes.strokeStyle = "#e5484d";
  strokes.lineCap = strokes.lineJoin = "round";
  strokes.lineWidth = 2 * state.radius * unit;
  strokes.beginPath();
  strokes.moveTo(from.x, from.y);
  strokes.lineTo(to.x + 0.001, to.y);
  strokes.stroke();
  state.last = to;
}

function save(url, name) {
  const link = document.createElement("a");
  Object.assign(link, { href: url, download: name });
  link.click();
}

function listen() {
  const input = find("easel-file");
  const easel = element.querySelector(".easel");
  easel.classList.toggle("paints", props.paints);
  easel.querySelectorAll(".easel-choose").forEach((button) => (button.onclick = () => input.click()));
  input.onchange = () => choose(input.files[0]).then(() => (input.value = ""));
  easel.ondragover = (event) => event.preventDefault();
  easel.ondrop = (event) => {
    event.preventDefault();
    choose(event.dataTransfer.files[0]);
  };
  easel.onpaste = (event) => choose(event.clipboardData.files[0]);
  find("easel-save").onclick = () => {
    save(state.image, "picture.png");
    if (mask()) save(mask(), "mask.png");
  };
  if (!props.paints) return;
  const strokes = find("easel-strokes");
  strokes.onpointerdown = (event) => {
    if (!state.image) return;
    strokes.setPointerCapture(event.pointerId);
    paint(event);
  };
  strokes.onpointermove = (event) => state.last && paint(event);
  strokes.onpointerup = strokes.onpointercancel = () => {
    if (state.last) keep();
    state.last = null;
  };
  find("easel-brush").oninput = (event) => (state.radius = Number(event.target.value));
  find("easel-clear").onclick = () => {
    context("easel-strokes").clearRect(0, 0, strokes.width, strokes.height);
    keep();
  };
}

listen();
show();
watch("value", show);
