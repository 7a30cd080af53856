/**
 * The layers of a board's disk, each a file over the one that is its parent, the lowest over the image. The current one takes the
 * board's changes; a snapshot is a name for one that takes none any more.
 *
 *     image ◄── a ◄── b ◄── d (current)          snapshot before-upgrade: a
 *               ▲                                snapshot good: b
 *               └──── c                          snapshot tried: c
 *
 * Everything here is pure: a tree in, the next one out.
 */
export interface LayerTree {
  /** Its id. */
  readonly current: string;
  readonly layers: readonly Layer[];
  /** Oldest first; no name twice, and each of a layer of its own. */
  readonly snapshots: readonly Snapshot[];
  /** Files of layers that are none any more, or are none yet. One is removed when this is on stable storage, and not before. */
  readonly removed: readonly string[];
}

export interface Layer {
  /** 16 bytes in hex; also the file's name. */
  readonly id: string;
  /** Id of the layer beneath; undefined: the image. */
  readonly parent: string | undefined;
  /** The image, and which version of it: the name of its pin. */
  readonly base: string;
}

export interface Snapshot {
  readonly name: string;
  readonly layer: string;
  readonly takenAt: Date;
}

/** What can be done to have fewer layers, without changing what anybody sees. */
export type Tidying =
  | { readonly kind: 'remove'; readonly layer: string }
  /** Only `upper` lies on `lower`, and nobody else wants it: they can be one. */
  | { readonly kind: 'merge'; readonly lower: Layer; readonly upper: Layer };

/** What is written down before a file is made for a first layer: of a process that dies over it nothing is left. */
export function unmadeTree(id: string): LayerTree {
  return { current: id, layers: [], snapshots: [], removed: [id] };
}

export function isMade({ layers }: LayerTree): boolean {
  return layers.length > 0;
}

export function newTree(id: string, base: string): LayerTree {
  return { current: id, layers: [{ id, parent: undefined, base }], snapshots: [], removed: [] };
}

/** The same, before a file is made for one layer more. */
export function withPlanned(tree: LayerTree, id: string): LayerTree {
  return { ...tree, removed: [...tree.removed, id] };
}

export function layerOf(tree: LayerTree, id: string): Layer {
  const found = tree.layers.find((layer) => layer.id === id);
  if (found === undefined) throw new RangeError(`there is no layer ${id}`);
  return found;
}

/** That layer and all beneath it, the lowest first. */
export function chainOf(tree: LayerTree, id: string): readonly Layer[] {
  const layer = layerOf(tree, id);
  return layer.parent === undefined ? [layer] : [...chainOf(tree, layer.parent), layer];
}

/** What is current becomes the snapshot, and `fresh`, which is empty, takes the changes from now on. */
export function withSnapshot(tree: LayerTree, snapshot: Omit<Snapshot, 'layer'>, fresh: string): LayerTree {
  const { base } = layerOf(tree, tree.current);
  return {
    ...tree,
    current: fresh,
    layers: [...tree.layers, { id: fresh, parent: tree.current, base }],
    snapshots: [...tree.snapshots, { ...snapshot, layer: tree.current }],
    removed: tree.removed.filter((id) => id !== fresh),
  };
}

/** `fresh` lies over the snapshot; what was current is gone. */
export function rolledBack(tree: LayerTree, snapshot: Snapshot, fresh: string): LayerTree {
  const { base } = layerOf(tree, snapshot.layer);
  return begunOver(tree, { id: fresh, parent: snapshot.layer, base });
}

/** `fresh` lies over the image as it is now; what was current is gone, snapshots stay. */
export function startedAnew(tree: LayerTree, base: string, fresh: string): LayerTree {
  return begunOver(tree, { id: fresh, parent: undefined, base });
}

function begunOver(tree: LayerTree, fresh: Layer): LayerTree {
  const removed = tree.removed.filter((id) => id !== fresh.id);
  return withoutLayer({ ...tree, current: fresh.id, layers: [...tree.layers, fresh], removed }, tree.current);
}

export function withoutSnapshot(tree: LayerTree, name: string): LayerTree {
  return { ...tree, snapshots: tree.snapshots.filter((snapshot) => snapshot.name !== name) };
}

export function withoutLayer(tree: LayerTree, id: string): LayerTree {
  return { ...tree, layers: tree.layers.filter((layer) => layer.id !== id), removed: [...tree.removed, id] };
}

/** Their files are removed. */
export function withoutRemoved(tree: LayerTree): LayerTree {
  return { ...tree, removed: [] };
}

/** The two are one, in the file of `kept`. */
export function merged(
  tree: LayerTree,
  { lower, upper }: Extract<Tidying, { kind: 'merge' }>,
  kept: string,
): LayerTree {
  const gone = kept === upper.id ? lower.id : upper.id;
  const layers = tree.layers
    .filter(({ id }) => id !== gone)
    .map((layer) => {
      if (layer.id === kept) return { ...layer, parent: lower.parent };
      return layer.parent === upper.id ? { ...layer, parent: kept } : layer;
    });
  return {
    ...tree,
    layers,
    current: tree.current === upper.id ? kept : tree.current,
    snapshots: tree.snapshots.map((each) => (each.layer === upper.id ? { ...each, layer: kept } : each)),
    removed: [...tree.removed, gone],
  };
}

/** The next thing that can be done; undefined if all layers are needed. */
export function tidying(tree: LayerTree): Tidying | undefined {
  const needed = new Set([tree.current, ...tree.snapshots.map(({ layer }) => layer)]);
  for (const lower of tree.layers.filter(({ id }) => !needed.has(id))) {
    const above = tree.layers.filter(({ parent }) => parent === lower.id);
    const [upper] = above;
    if (upper === undefined) return { kind: 'remove', layer: lower.id };
    if (above.length === 1) return { kind: 'merge', lower, upper };
  }
  return undefined;
}

/** What keeps it from being a tree; undefined if nothing does. */
export function brokenBy({ current, layers, snapshots, removed }: LayerTree): string | undefined {
  if (layers.length === 0 && snapshots.length === 0) return undefined; // it was about to be made
  const ids = new Set(layers.map(({ id }) => id));
  if (ids.size !== layers.length) return 'a layer is in it twice';
  if (!ids.has(current)) return 'its current layer is not in it';
  if (removed.some((id) => ids.has(id))) return 'a layer is in it that is to be removed';
  const orphan = layers.find(({ parent }) => parent !== undefined && !ids.has(parent));
  if (orphan !== undefined) return `layer ${orphan.id} lies on one that is not in it`;
  const nameless = snapshots.find(({ layer }) => !ids.has(layer) || layer === current);
  if (nameless !== undefined) return `snapshot ${nameless.name} has no layer`;
  if (new Set(snapshots.map(({ name }) => name)).size !== snapshots.length) return 'a snapshot is in it twice';
  // Whoever follows parents from any layer must come to the image.
  const ends = layers.every((layer) => {
    let at: Layer | undefined = layer;
    for (let steps = 0; at !== undefined && steps <= layers.length; steps += 1) {
      const { parent }: Layer = at;
      if (parent === undefined) return true;
      at = layers.find(({ id }) => id === parent);
    }
    return false;
  });
  return ends ? undefined : 'its layers lie on each other in a circle';
}
