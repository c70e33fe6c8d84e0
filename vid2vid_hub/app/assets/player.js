// The player of one video whose left half is the condition and whose right half is what was generated from it.
// One decoder draws both halves, so they cannot drift apart. Words from outside enter through textContent only.
const find = (selector) => element.querySelector(selector);
const player = find('.v2v-player');
const note = find('.v2v-note');
const stage = find('.v2v-stage');
const canvas = find('canvas');
const video = find('video');
const wipe = find('.v2v-wipe');
const time = find('.v2v-time');
const clock = find('.v2v-clock');
const playButton = find('.v2v-play');
const loopButton = find('.v2v-loop');
const speed = find('.v2v-speed select');
const picture = canvas.getContext('2d', { alpha: false });
const whole = document.createElement('canvas').getContext('2d', { alpha: false });
const calm = window.matchMedia('(prefers-reduced-motion: reduce)');
const byFrame = 'requestVideoFrameCallback' in HTMLVideoElement.prototype;
const broken = 'The video cannot be played here: it was removed after a while, or this browser does not play H.264 '
  + 'video; generate it again, or download it and open it with another program.';

let url = null;   // none was looked at yet
let fps = 25;
let frames = 1;
let frame = 0;      // the one on the canvas
let waiting = null; // the one that a running seek is followed by
let hidden = false; // whether it was paused because nobody can see it

function say(state, sentence) {
  player.dataset.state = state;
  note.textContent = sentence;
}

// The whole frame is taken once and cut afterwards: between two looks at a playing video it may have moved on.
function take(at) {
  if (!video.videoWidth || video.readyState < 2) return;
  whole.drawImage(video, 0, 0);
  frame = Math.min(frames - 1, Math.max(0, at));
  // A slider that is ahead of the video, because a seek still runs, stays where the hand put it.
  if (waiting === null && !video.seeking) time.value = frame;
  const seconds = (frame / fps).toFixed(2);
  clock.textContent = `${seconds} / ${(frames / fps).toFixed(2)} s`;
  time.setAttribute('aria-valuetext', `frame ${frame + 1} of ${frames}, ${seconds} seconds`);
  paint();
}

function paint() {
  const height = whole.canvas.height;
  const half = whole.canvas.width >> 1;
  if (player.dataset.mode === 'beside') {
    fit(2 * half, height);
    picture.drawImage(whole.canvas, 0, 0);
  } else {
    const cut = Math.round(half * wipe.value / 100);
    fit(half, height);
    picture.drawImage(whole.canvas, half, 0, half, height, 0, 0, half, height);
    if (cut > 0) picture.drawImage(whole.canvas, 0, 0, cut, height, 0, 0, cut, height);
  }
  canvas.dataset.frame = frame;
}

function fit(width, height) {
  if (canvas.width === width && canvas.height === height) return;
  canvas.width = width;
  canvas.height = height;
  picture.imageSmoothingEnabled = false; // setting a size forgets it
  stage.style.setProperty('--v2v-aspect', width / height);
  stage.style.setProperty('--v2v-width', `${Math.max(3 * width, 320)}px`); // tiny videos are not blown up
}

function now() {
  return Math.floor(video.currentTime * fps + 0.01);
}

function follow(when, data) {
  take(data ? Math.round(data.mediaTime * fps) : now());
  if (!element.isConnected) video.pause();
  else if (byFrame) video.requestVideoFrameCallback(follow);
  else if (!video.paused) requestAnimationFrame(() => follow());
}

function seek(to) {
  const target = Math.min(frames - 1, Math.max(0, to));
  video.pause();
  if (video.seeking) {
    waiting = target;
    return;
  }
  waiting = null;
  video.currentTime = (target + 0.5) / fps; // the middle of the frame, where no rounding can miss it
}

function step(by) {
  seek((waiting ?? (video.seeking ? now() : frame)) + by);
}

function toggle() {
  hidden = false;
  if (video.paused) video.play().catch(() => {});
  else video.pause();
}

function divide(percent) {
  const value = Math.min(100, Math.max(0, Math.round(percent)));
  wipe.value = value;
  stage.style.setProperty('--v2v-cut', `${value}%`);
  stage.dataset.side = value < 18 ? 'right' : value > 82 ? 'left' : 'both';
  wipe.setAttribute('aria-valuetext', `${value}% ${props.left}, ${100 - value}% ${props.right}`);
  paint();
}

function compare(mode) {
  player.dataset.mode = mode;
  wipe.disabled = mode === 'beside';
  for (const button of element.querySelectorAll('.v2v-mode')) {
    button.setAttribute('aria-pressed', String(button.dataset.mode === mode));
  }
  paint();
}

function load() {
  const value = props.value || {};
  find('.v2v-left').textContent = props.left;
  find('.v2v-right').textContent = props.right;
  canvas.setAttribute('aria-label', `${props.left} and ${props.right}, the same moment of both`);
  wipe.setAttribute('aria-label', `Divider between ${props.left} and ${props.right}`);
  const next = value.video?.url || '';
  if (next === url) return;
  url = next;
  frame = 0;
  waiting = null;
  video.pause();
  if (!url) {
    video.removeAttribute('src');
    video.load();
    say('empty', props.empty);
    return;
  }
  fps = Number(value.fps) > 0 ? Number(value.fps) : 25;
  say('loading', 'Loading the video …');
  video.src = url;
  video.load();
}

function button(pressed, word) {
  playButton.dataset.playing = pressed;
  playButton.setAttribute('aria-label', word);
}

video.muted = true;
video.addEventListener('loadeddata', () => {
  whole.canvas.width = video.videoWidth;
  whole.canvas.height = video.videoHeight;
  frames = Math.max(1, Math.round(video.duration * fps));
  time.max = frames - 1;
  video.playbackRate = Number(speed.value);
  say('ready', '');
  divide(Number(wipe.value));
  take(0);
  if (!calm.matches) video.play().catch(() => {});
});
video.addEventListener('seeked', () => {
  take(now());
  if (waiting !== null) seek(waiting);
});
video.addEventListener('error', () => {
  if (url) say('broken', broken);
});
video.addEventListener('play', () => {
  button(true, 'Pause');
  if (!byFrame) follow();
});
video.addEventListener('pause', () => button(false, 'Play'));
video.addEventListener('ended', () => button(false, 'Play'));
if (byFrame) video.requestVideoFrameCallback(follow);

playButton.addEventListener('click', toggle);
time.addEventListener('input', () => seek(Number(time.value)));
wipe.addEventListener('input', () => divide(Number(wipe.value)));
speed.addEventListener('change', () => {
  video.playbackRate = Number(speed.value);
});
loopButton.addEventListener('click', () => {
  video.loop = !video.loop;
  loopButton.setAttribute('aria-pressed', String(video.loop));
});
for (const choice of element.querySelectorAll('.v2v-mode')) {
  choice.addEventListener('click', () => compare(choice.dataset.mode));
}

function drag(event) {
  const box = canvas.getBoundingClientRect();
  divide(100 * (event.clientX - box.left) / box.width);
}
stage.addEventListener('pointerdown', (event) => {
  if (event.button !== 0 || player.dataset.mode !== 'wipe') return;
  event.preventDefault(); // no text is selected and no picture is dragged away
  stage.setPointerCapture(event.pointerId);
  wipe.focus({ preventScroll: true, focusVisible: false });
  drag(event);
});
stage.addEventListener('pointermove', (event) => {
  if (stage.hasPointerCapture(event.pointerId)) drag(event);
});

player.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || player.dataset.state !== 'ready') return;
  const own = event.target.closest('button, select');
  if (event.key === ' ' && !own) toggle();
  else if (event.key === ',') step(-1);
  else if (event.key === '.') step(1);
  else return;
  event.preventDefault();
});

// What is out of sight, in another tab or far down the page, rests.
new IntersectionObserver(([seen]) => {
  if (!seen.isIntersecting && !video.paused) {
    hidden = true;
    video.pause();
  } else if (seen.isIntersecting && hidden) {
    hidden = false;
    video.play().catch(() => {});
  }
}).observe(player);

watch(['value'], load);
load();
