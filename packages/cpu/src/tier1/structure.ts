import { type Graph, successors } from "./control-flow.ts";

/** Stands for the dispatcher, from which all entries are reached. */
export const ROOT = -1;

/** What structured code generation needs to know of a graph. */
export interface Structure {
  /** Blocks that the dispatcher leads to, by their number in it. */
  readonly entries: readonly number[];
  /** Each block's place in reverse post-order; the dispatcher is 0. */
  readonly number: ReadonlyMap<number, number>;
  /** Blocks that are entered by a backward edge from a block that they dominate. */
  readonly loopHeaders: ReadonlySet<number>;
  /** Blocks with two or more forward edges into them, and all entries. */
  readonly merges: ReadonlySet<number>;
  /** Children of each block in the dominator tree, by descending number. */
  readonly children: ReadonlyMap<number, readonly number[]>;
  /** Backward edges that no loop can express, as {@link edgeKey} numbers them: they go through the dispatcher. */
  readonly dispatched: ReadonlySet<number>;
  /** In how many loops each block is. */
  readonly depth: ReadonlyMap<number, number>;
}

/** More than any place in a region. */
const PLACES = 2 ** 26;

/** One number for an edge between two blocks. */
export function edgeKey(from: number, to: number): number {
  return from * PLACES + to;
}

/** Where the edge with this number leads. */
export function edgeTarget(key: number): number {
  return key % PLACES;
}

interface Analysis {
  readonly order: readonly number[];
  readonly number: Map<number, number>;
  readonly predecessors: Map<number, number[]>;
  readonly dominator: Map<number, number>;
}

/**
 * Finds loops and dominators, with a dispatcher in front of all entries. Innermost loops become entries of their own, so
 * that a loop which was left in its middle is found again; so do targets of edges that no loop can express.
 */
export function analyse(graph: Graph): Structure {
  const entries = new Set(graph.entries);
  for (let first = true; ; first = false) {
    const analysis = orderBlocks(graph, entries);
    const back = backwardEdges(graph, analysis);
    const before = entries.size;
    if (first) for (const header of innermostLoops(loopBodies(analysis, back.loops))) entries.add(header);
    for (const edge of back.dispatched) entries.add(edgeTarget(edge));
    if (entries.size === before) return describe(analysis, back, [...entries]);
  }
}

function orderBlocks(graph: Graph, entries: ReadonlySet<number>): Analysis {
  const next = (offset: number): number[] =>
    offset === ROOT ? [...entries] : successors(graph.blocks.get(offset)!, graph);
  const order: number[] = [];
  const seen = new Set<number>([ROOT]);
  const stack: [number, number[]][] = [[ROOT, next(ROOT)]];
  while (stack.length > 0) {
    const [at, rest] = stack[stack.length - 1]!;
    const to = rest.shift();
    if (to === undefined) {
      order.push(at);
      stack.pop();
    } else if (!seen.has(to)) {
      seen.add(to);
      stack.push([to, next(to)]);
    }
  }
  order.reverse();
  const number = new Map(order.map((offset, index) => [offset, index]));
  const predecessors = new Map<number, number[]>(order.map((offset) => [offset, []]));
  for (const offset of order) for (const to of next(offset)) predecessors.get(to)!.push(offset);
  return { order, number, predecessors, dominator: findDominators(order, number, predecessors) };
}

/** Cooper, Harvey and Kennedy's iteration. */
function findDominators(
  order: readonly number[],
  number: ReadonlyMap<number, number>,
  predecessors: ReadonlyMap<number, readonly number[]>,
): Map<number, number> {
  const dominator = new Map<number, number>([[ROOT, ROOT]]);
  const meet = (left: number, right: number): number => {
    let [a, b] = [left, right];
    while (a !== b) {
      while (number.get(a)! > number.get(b)!) a = dominator.get(a)!;
      while (number.get(b)! > number.get(a)!) b = dominator.get(b)!;
    }
    return a;
  };
  for (let changed = true; changed; ) {
    changed = false;
    for (const offset of order) {
      if (offset === ROOT) continue;
      let best: number | undefined;
      for (const from of predecessors.get(offset)!)
        if (dominator.has(from)) best = best === undefined ? from : meet(best, from);
      if (best !== undefined && dominator.get(offset) !== best) {
        dominator.set(offset, best);
        changed = true;
      }
    }
  }
  return dominator;
}

interface BackwardEdges {
  /** Sources of the backward edges of each loop header. */
  readonly loops: Map<number, number[]>;
  readonly dispatched: Set<number>;
}

function backwardEdges(graph: Graph, { order, number, dominator }: Analysis): BackwardEdges {
  const loops = new Map<number, number[]>();
  const dispatched = new Set<number>();
  const dominates = (a: number, b: number): boolean => {
    for (let at = b; at !== ROOT; at = dominator.get(at)!) if (at === a) return true;
    return false;
  };
  for (const from of order) {
    if (from === ROOT) continue;
    for (const to of successors(graph.blocks.get(from)!, graph)) {
      if (number.get(to)! > number.get(from)!) continue;
      if (!dominates(to, from)) dispatched.add(edgeKey(from, to));
      else if (loops.has(to)) loops.get(to)!.push(from);
      else loops.set(to, [from]);
    }
  }
  return { loops, dispatched };
}

/** The blocks of each loop, by its header. */
function loopBodies(
  { predecessors }: Analysis,
  loops: ReadonlyMap<number, readonly number[]>,
): Map<number, Set<number>> {
  return new Map(
    [...loops].map(([header, sources]) => {
      const body = new Set<number>([header]);
      const work = [...sources];
      while (work.length > 0) {
        const block = work.pop()!;
        if (body.has(block)) continue;
        body.add(block);
        work.push(...predecessors.get(block)!);
      }
      return [header, body];
    }),
  );
}

/** Headers of loops that contain no other loop. */
function innermostLoops(bodies: ReadonlyMap<number, ReadonlySet<number>>): number[] {
  return [...bodies]
    .filter(([header, body]) => ![...body].some((block) => block !== header && bodies.has(block)))
    .map(([header]) => header);
}

function describe(analysis: Analysis, { loops, dispatched }: BackwardEdges, entries: readonly number[]): Structure {
  const { order, number, predecessors, dominator } = analysis;
  const merges = new Set<number>(entries);
  const children = new Map<number, number[]>(order.map((offset) => [offset, []]));
  for (const offset of order) {
    if (offset === ROOT) continue;
    const forward = predecessors.get(offset)!.filter((from) => number.get(from)! < number.get(offset)!);
    if (forward.length > 1) merges.add(offset);
    children.get(dominator.get(offset)!)!.push(offset);
  }
  for (const list of children.values()) list.sort((a, b) => number.get(b)! - number.get(a)!);
  const depth = new Map<number, number>();
  for (const body of loopBodies(analysis, loops).values())
    for (const block of body) depth.set(block, (depth.get(block) ?? 0) + 1);
  return { entries, number, loopHeaders: new Set(loops.keys()), merges, children, dispatched, depth };
}
