// One clip on the page: a video, or a plotted trace where there is no video.
//
// Both kinds have the same face. Places are in steps: 12.3 is a third into what step 12 shows.
//   node         what is to be put on the page
//   length       steps
//   aspect       width by height, once it is ready
//   ready        resolves when the first frame can be shown; rejects if there will be none
//   moves        whether it keeps time by itself (a video), or is drawn at a place (a trace)
//   place()      where it is
//   seek(place)  resolves when that place is shown
//   play()       rejects where the browser won't
//   pause(), setRate(steps per second)

import { getClip, persist, Refused } from "./api.js";
import { TraceClip } from "./plots.js";
import { VideoClip } from "./video.js";

const KEPT = 48; // videos in memory: those shown lately come back at once when an answer is undone

const videos = new Map(); // by address, the least recently used first

/** A video's bytes as an address that a <video> can play. */
function loadVideo(url, signal) {
  let found = videos.get(url);
  if (found) videos.delete(url);
  else {
    found = persist(() => getClip(url), signal).then((blob) => URL.createObjectURL(blob));
    found.catch(() => videos.delete(url));
  }
  videos.set(url, found);
  for (const [old, address] of videos) {
    if (videos.size <= KEPT) break;
    videos.delete(old);
    address.then(URL.revokeObjectURL, () => {});
  }
  return found;
}

/** A clip of a side, as the server describes it; `axes` are what a plot of it shares with the other side's. */
function makeClip(side, label, axes, signal) {
  return side.clip_url
    ? new VideoClip(loadVideo(side.clip_url, signal), side.length, label)
    : new TraceClip(side, label, axes);
}

/** A clip of a side that can be shown. What can't be drawn is plotted here: the server's plot names no lines. */
export async function loadClip(side, label, axes, signal) {
  let clip = side.clip_error ? new TraceClip(side, label, axes) : makeClip(side, label, axes, signal);
  try {
    await clip.ready;
  } catch (error) {
    // too many numbers for a page: of these the server's plot has to do
    if (!(error instanceof Refused && side.clip_error && side.clip_url)) throw error;
    clip = makeClip(side, label, axes, signal);
    await clip.ready;
  }
  return clip;
}
