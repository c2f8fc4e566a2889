import { PathTrace } from "./paths.ts";

/** Samples between two decisions, and the fewest, whether to follow the guest's paths, and the share of cold instructions that asks for it. */
const WINDOW = 256;
const SHORTEST_WINDOW = 64;
const COLD_SHARE = 0.2;
/** How much of itself that share may differ from the one before: a guest that boots does another thing each time. */
const STEADY = 0.08;
/** Going from one region to another takes about as long as interpreting so many instructions, and counts as they do. */
const ENTRY_COST = 10;
/** Instructions that are followed. */
const LENGTH = 300_000;
const SHORTEST_LENGTH = 400;
/**
 * Cold instructions, in sample intervals, after which a trace pays for each instruction that the last one
 * translated, and for any trace: translating an instruction costs about what interpreting ten thousand does.
 */
const COLD_PER_INSTRUCTION = 0.25;
const COLD_PER_TRACE = 1200;
/** After a trace that gave nothing new, the next one waits so many times as long. */
const BACKOFF = 4;
const MOST_COLD = 20_000;
/** After a trace that was unlike the one before, the next one waits so many times as long as that did. */
const PATIENCE = 1.3;
/** Share of a trace's paths that the trace before it, a decision earlier, must have had: a guest that boots is elsewhere by then. */
const LIKENESS = 0.85;

/** What the engine counts: instructions executed; those in regions, and entries into regions, both modulo 2^32. */
interface Counters {
  readonly executed: number;
  readonly inRegions: number;
  readonly entered: number;
}

/** Decides when to follow the guest's paths: when much of its time goes by in or between pieces of code, for long enough. */
export class PathFollower {
  /** What is being followed; `undefined` most of the time. */
  trace: PathTrace | undefined;
  private left = 0;
  /** The trace before, if nothing was translated after it. */
  private earlier: PathTrace | undefined;
  private readonly interval: number;
  /** How much shorter than usual everything is: whoever samples often wants short programs translated. */
  private readonly scale: number;
  private samples = 0;
  /** Counters when the last decision was made. */
  private before: Counters = { executed: 0, inRegions: 0, entered: 0 };
  /** Cold instructions since the last translation, and how many the next one asks for, in sample intervals. */
  private cold = 0;
  /** Share of cold instructions when the last decision was made. */
  private share = 0;
  private wantedCold: number;

  /** `interval` instructions lie between two samples, `usual` ones where nobody says otherwise. */
  constructor(interval: number, usual: number) {
    this.interval = interval;
    this.scale = Math.min(1, interval / usual);
    this.wantedCold = this.scaled(COLD_PER_TRACE);
  }

  private scaled(count: number): number {
    return Math.max(4, Math.round(count * this.scale));
  }

  /** Counts a sample; `true` when a trace begins. */
  sample(counters: Counters): boolean {
    if (++this.samples < Math.max(SHORTEST_WINDOW, WINDOW * this.scale)) return false;
    const { before } = this;
    const all = counters.executed - before.executed;
    const interpreted = all - ((counters.inRegions - before.inRegions) >>> 0);
    const cold = interpreted + ((counters.entered - before.entered) >>> 0) * ENTRY_COST;
    this.samples = 0;
    this.before = counters;
    this.cold += cold / this.interval;
    const share = cold / all;
    const isSteady = Math.abs(share - this.share) <= share * STEADY;
    this.share = share;
    if (share <= COLD_SHARE || !isSteady || this.cold < this.wantedCold) return false;
    this.trace = new PathTrace();
    this.left = Math.max(SHORTEST_LENGTH, Math.round(LENGTH * this.scale));
    return true;
  }

  /** `count` instructions were followed. At the end of the trace answers whether its paths are to be translated. */
  spend(count: number): boolean | undefined {
    this.left -= count;
    if (this.left > 0) return undefined;
    const trace = this.trace!;
    this.trace = undefined;
    const lasting = this.earlier !== undefined && trace.likeness(this.earlier) >= LIKENESS;
    this.earlier = lasting ? undefined : trace;
    if (!lasting) this.wantedCold = Math.min(Math.ceil(this.wantedCold * PATIENCE), this.scaled(MOST_COLD));
    return lasting;
  }

  /** So many instructions were translated. */
  translated(count: number): void {
    this.cold = 0;
    this.wantedCold =
      count === 0
        ? Math.min(this.wantedCold * BACKOFF, this.scaled(MOST_COLD))
        : Math.max(this.scaled(COLD_PER_TRACE), Math.round(count * COLD_PER_INSTRUCTION * this.scale));
  }
}
