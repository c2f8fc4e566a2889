import { PathTrace } from "./paths.ts";

/** Samples between two decisions whether to follow the guest's paths, and the share of interpreted instructions that asks for it. */
const WINDOW = 256;
const COLD_SHARE = 0.25;
/** Instructions that are followed. */
const LENGTH = 300_000;
const SHORTEST_LENGTH = 400;
/**
 * Interpreted instructions, in sample intervals, after which a trace pays for each instruction that the last one
 * translated, and for any trace: translating an instruction costs about what interpreting ten thousand does.
 */
const COLD_PER_INSTRUCTION = 0.25;
const COLD_PER_TRACE = 2400;
/** After a trace that gave nothing new, the next one waits so many times as long. */
const BACKOFF = 4;
const MOST_COLD = 20_000;
/** Share of a trace's paths that the trace before it, a decision earlier, must have had: a guest that boots is elsewhere by then. */
const LIKENESS = 0.85;

/** Decides when to follow the guest's paths: when much of its time goes by in code that isn't translated, for long enough. */
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
  private executed = 0;
  private inRegions = 0;
  /** Interpreted instructions since the last translation, and how many the next one asks for, in sample intervals. */
  private cold = 0;
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

  /** Counts a sample; `true` when a trace begins. The counters are instructions executed, and those in regions modulo 2^32. */
  sample(executed: number, inRegions: number): boolean {
    if (++this.samples < this.scaled(WINDOW)) return false;
    const all = executed - this.executed;
    const interpreted = all - ((inRegions - this.inRegions) >>> 0);
    this.samples = 0;
    this.executed = executed;
    this.inRegions = inRegions;
    this.cold += interpreted / this.interval;
    if (interpreted <= all * COLD_SHARE || this.cold < this.wantedCold) return false;
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
