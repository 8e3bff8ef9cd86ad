// What the keys of labelling.yaml mean for those who label: a title, what it does, a unit and an example, and what
// is to be known of it only where it is set for every run, or for one.

const WORDS = {
  allow_ties: {
    title: "“Both are equally good”",
    about: "Annotators may call two clips equal. Without it they must choose, also where there is nothing to choose.",
  },
  allow_skip: {
    title: "“I can't tell”",
    about: "Annotators may skip a pair. A skip teaches nothing; without it, people guess.",
  },
  allow_trim: {
    title: "Comparing a part",
    about: "Annotators may narrow the part of the clips that they compare; their answer then holds for that part alone.",
  },
  max_queries_per_annotator: {
    title: "Most labels of one person",
    unit: "labels in a run",
    about: "Whoever has given so many gets no more pairs of that run.",
    example: "50 for a study in which all label alike; empty: any number.",
  },
  frames_per_second: {
    title: "Frame rate",
    unit: "frames a second",
    about: "How many steps of the environment a second of a clip shows.",
    everywhere: "Holds for clips that are drawn from then on.",
    ofRun: "Clips that were drawn at another rate are drawn again; those that were sent stay.",
    example: "at 25, 50 steps last 2 s; empty: as the environment says of itself.",
  },
  playback_speed: {
    title: "Speed",
    unit: "times real time",
    about: "How fast clips play at first; whoever watches can change it. Those that would be over within a second begin slower.",
    example: "0.5 is half as fast, 2 twice as fast.",
  },
  rendered_queue_size: {
    title: "Clips drawn ahead",
    unit: "pairs",
    about: "For how many pairs of a run the server draws clips before anybody asks. With few, people wait for clips; many cost time and disk.",
    example: "30 where several people label one run.",
  },
  pairs_ahead: {
    title: "Pairs that a page holds",
    unit: "pairs",
    about: "How many a person's page fetches, with the one that they look at, so that the next is there at once. Nobody else gets these meanwhile.",
    example: "2 where many people share few pairs, 8 on a slow connection.",
  },
  cache_size_mb: {
    title: "Disk for clips",
    unit: "MB",
    about: "Clips that were drawn here are kept up to this size; older ones are drawn again when somebody looks.",
    example: "2000 holds tens of thousands of short clips.",
  },
  sent_clips_mb: {
    title: "Disk for clips that were sent",
    unit: "MB",
    about: "Clips that collectors sent, and those of comparisons, can't be drawn again, so they are kept; beyond this size the server takes no more.",
    example: "5000 is 5 GB.",
  },
  annotators_per_query: {
    title: "People for each pair",
    unit: "people",
    about: "How many label each pair of a run that is made from now on. With two or more, the results say how often they agree.",
    example: "2 doubles the work, and shows where people differ.",
  },
  repeats: {
    title: "Pairs that are shown twice",
    unit: "share, 0 to 1",
    about: "Of runs that are made from now on: how many pairs the same person gets again, some answers later. It shows how steady they are.",
    example: "0.1 is every tenth pair.",
  },
  lease_seconds: {
    title: "Time for a pair",
    unit: "seconds",
    about: "A pair that was shown and not answered for so long goes to somebody else.",
    example: "300 is five minutes.",
  },
};

/** The words for a key; one that is not known here is told as labelling.yaml tells it. */
export function words({ key, help }) {
  const name = key.replaceAll("_", " ");
  return WORDS[key] ?? { title: name[0].toUpperCase() + name.slice(1), about: `${help[0].toUpperCase()}${help.slice(1)}.` };
}
