/** What the page says, in English and Chinese. `{0}` stands for a value. */
const WORDS = {
  title: ['Images', '镜像'],
  images: ['Images', '镜像'],
  usage: ['Space', '空间'],
  care: ['Check', '检查'],
  search: ['Search images', '搜索镜像'],
  empty: ['There are no images yet.', '还没有镜像。'],
  noMatch: ['No image has this in its name.', '没有名称匹配的镜像。'],
  upload: ['Upload archives', '上传归档'],
  drop: ['Drop docker save archives or OCI archives here, or', '把 docker save 或 OCI 归档拖到这里，或者'],
  choose: ['choose files', '选择文件'],
  uploading: ['Uploading {0}: {1} of {2}', '正在上传 {0}：{1} / {2}'],
  checking: ['Checking {0}: {1} read', '正在检查 {0}：已读取 {1}'],
  retrying: ['The connection was lost; trying again', '连接中断，正在重试'],
  refused: ['{0} cannot be taken', '无法接收 {0}'],
  pause: ['Pause', '暂停'],
  resume: ['Continue', '继续'],
  discard: ['Discard', '放弃'],
  found: ['Images in this archive: {0}', '此归档中的镜像：{0}'],
  take: ['Add the chosen images', '添加所选镜像'],
  taking: ['Adding images: {0} read', '正在添加镜像：已读取 {0}'],
  nameOf: ['Name of the image', '镜像名称'],
  chosen: ['Add this image', '添加此镜像'],
  replaces: ['replaces {0}', '将替换 {0}'],
  unchanged: ['is there already, the same', '已存在，内容相同'],
  needsName: ['has no name: give it one, such as team/app:1.0', '没有名称：请输入名称，例如 team/app:1.0'],
  badName: ['a name has lower-case letters and a tag: team/app:1.0', '名称须为小写并带标签：team/app:1.0'],
  twice: ['two images have this name', '两个镜像使用了这个名称'],
  written: ['added', '已添加'],
  updated: ['added, in place of another', '已添加，替换了原有镜像'],
  failed: ['not added', '未添加'],
  tags: ['Tags: {0}', '标签：{0}'],
  copy: ['Copy', '复制'],
  copied: ['Copied', '已复制'],
  download: ['Download for docker load', '下载（docker load）'],
  downloadAll: ['all platforms', '全部平台'],
  digest: ['Digest', '摘要'],
  layers: ['Layers', '层'],
  size: ['Size', '大小'],
  made: ['Made by', '构建命令'],
  labels: ['Labels', '标签（label）'],
  config: ['Runs', '运行'],
  referrers: ['Attached: signatures, SBOMs', '附件：签名、SBOM'],
  remove: ['Delete the tag', '删除标签'],
  sure: ['Delete {0}? Whoever pulls it by this tag will not find it.', '删除 {0}？之后无法用该标签拉取。'],
  yes: ['Delete', '删除'],
  no: ['Keep', '保留'],
  own: ['{0} only here', '独占 {0}'],
  usageText: [
    'All tags together need {0}. The coloured part of a bar is what a tag alone needs: deleting it frees that much.',
    '全部标签共需 {0}。彩色部分是该标签独占的空间，删除它即可释放。',
  ],
  cut: ['Only some of the tags are shown: there are too many.', '标签过多，只显示一部分。'],
  verify: ['Verify every digest', '校验全部摘要'],
  gc: ['What could be deleted', '可以清理的内容'],
  verified: ['Images checked: {0}, broken: {1}', '已检查 {0} 个镜像，{1} 个损坏'],
  garbage: ['imgconv gc would delete blobs: {0}, and free {1}', 'imgconv gc 将删除 {0} 个 blob，释放 {1}'],
  working: ['Working: {0} read', '进行中：已读取 {0}'],
  loading: ['Loading', '正在加载'],
  failure: ['It failed: {0}', '失败：{0}'],
  lost: ['the registry does not answer', '镜像仓库没有响应'],
  sharedWith: ['also in {0}', '也用于 {0}'],
} as const;

export type Word = keyof typeof WORDS;

export const CHINESE = navigator.language.toLowerCase().startsWith('zh');

/** A text in the browser's language. */
export function say(word: Word, ...values: readonly (string | number)[]): string {
  return WORDS[word][CHINESE ? 1 : 0].replace(/\{(\d)\}/g, (_, i: string) => String(values[Number(i)] ?? ''));
}

export function sizeText(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let [value, unit] = [bytes, 0];
  while (value >= 1000 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit] ?? ''}`;
}

export function shortDigest(digest: string): string {
  return digest.slice(0, digest.indexOf(':') + 13);
}
