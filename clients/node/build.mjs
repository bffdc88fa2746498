// Builds dist: ES modules in dist/esm, CommonJS in dist/cjs, with types.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, cpSync, rmSync, writeFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const tsc = join(here, 'node_modules', 'typescript', 'bin', 'tsc');
rmSync(join(here, 'dist'), { recursive: true, force: true });

function compile(dir) {
  execFileSync(process.execPath, [tsc, '-p', dir], { stdio: 'inherit' });
}
compile(here);

// TypeScript takes the kind of module from the nearest package.json, so CommonJS is built from a copy that says so.
const copy = mkdtempSync(join(here, '.cjs-'));
try {
  cpSync(join(here, 'src'), join(copy, 'src'), { recursive: true });
  writeFileSync(join(copy, 'package.json'), '{"type": "commonjs"}\n');
  const config = JSON.parse(readFileSync(join(here, 'tsconfig.json'), 'utf8'));
  config.compilerOptions.outDir = join(here, 'dist', 'cjs');
  writeFileSync(join(copy, 'tsconfig.json'), JSON.stringify(config));
  compile(copy);
  mkdirSync(join(here, 'dist', 'cjs'), { recursive: true });
  writeFileSync(join(here, 'dist', 'cjs', 'package.json'), '{"type": "commonjs"}\n');
} finally {
  rmSync(copy, { recursive: true, force: true });
}
