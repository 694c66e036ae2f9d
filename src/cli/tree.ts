import { sizeText } from '../model/size.js';
import { layerCompressionOf } from '../model/media-type.js';
import { imageTrees, type ImageTree, type TreeLayer, type TreeNode } from '../upkeep/image-tree.js';
import { printable, printableJson } from './exit.js';
import { sourceOf, type SourceArguments } from './sources.js';

export interface TreeArguments extends SourceArguments {
  readonly json?: boolean | 'lines';
  readonly trunc?: boolean;
}

/** What images are made of: platforms, layers, and what is attached. */
export async function treeCommand(args: TreeArguments): Promise<number> {
  const { place, access, selectors } = sourceOf(args, true);
  const trees: ImageTree[] = [];
  const isText = args.json === undefined || args.json === false;
  const width = args.trunc === false ? Infinity : process.stdout.isTTY ? process.stdout.columns || 100 : 120;
  for await (const tree of imageTrees(place, selectors, access))
    if (isText) process.stdout.write(treeText(tree, width));
    else trees.push(tree);
  if (!isText) process.stdout.write(`${printableJson(trees, 2)}\n`);
  return 0;
}

function treeText(tree: ImageTree, width: number): string {
  const lines = [
    `${tree.name ?? tree.digest}  ${headOf(tree)}`,
    ...below(
      tree,
      '',
      tree.referrers.map((one) => `attached: ${one.name ?? one.digest}`),
    ),
  ];
  return lines.map((line) => `${cut(printable(line), width)}\n`).join('');
}

function headOf({ kind, digest, platform, size }: TreeNode): string {
  return `${kind}  ${short(digest)}  ${sizeText(size)}${platform === undefined ? '' : `  ${platform}`}`;
}

/** The lines below a node, with the lines that join them. */
function below(
  { layers, members, absent }: TreeNode,
  indent: string,
  more: readonly string[] = [],
): string[] {
  const rows: readonly { readonly text: string; readonly node?: TreeNode }[] = [
    ...members.map((node) => ({
      text: `${node.platform ?? '-'}  ${headOf({ ...node, platform: undefined })}`,
      node,
    })),
    ...absent.map(({ platform = '-', digest }) => ({ text: `${platform}  ${short(digest)}  not there` })),
    ...layers.map((layer) => ({ text: layerText(layer) })),
    ...more.map((text) => ({ text })),
  ];
  return rows.flatMap(({ text, node }, i) => {
    const isLast = i === rows.length - 1;
    const line = `${indent}${isLast ? '└─' : '├─'} ${text}`;
    return [line, ...(node === undefined ? [] : below(node, `${indent}${isLast ? '   ' : '│  '}`))];
  });
}

function layerText({ digest, mediaType, size, sharedBy, createdBy = '' }: TreeLayer): string {
  const compression = layerCompressionOf(mediaType);
  const how = compression === undefined ? mediaType : compression === 'none' ? 'tar' : compression;
  const shared = sharedBy > 1 ? `  in ${sharedBy} images` : '';
  const command = createdBy.replace(/^\/bin\/sh -c (?:#\(nop\) +)?/, '').replace(/\s+/g, ' ');
  return `${short(digest)}  ${sizeText(size)} ${how}${shared}${command === '' ? '' : `  ${command}`}`;
}

/** As many digits as docker shows. */
export function short(digest: string): string {
  return digest.replace(/^(\w+:[0-9a-f]{12}).*$/, '$1');
}

function cut(line: string, width: number): string {
  return line.length <= width ? line : `${line.slice(0, Math.max(1, width - 1))}…`;
}
