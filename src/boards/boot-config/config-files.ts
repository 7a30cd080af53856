import { CONFIG_FILE_BYTES_MAX, CONFIG_INCLUDE_DEPTH_MAX, CONFIG_INCLUDES_MAX } from '../../base/limits.js';
import { type ConfigFilters, NO_FILTERS, withFilter } from './config-filters.js';
import { configWarningText, parseConfigTxt } from './config-txt.js';

/**
 * Reads a file of the boot partition: at most its first `maxBytes` bytes, or undefined if there is no such file. `path` has
 * `/` between names and none in front. Case is as on a FAT: blind.
 */
export type ReadBootFile = (path: string, maxBytes: number) => Promise<Uint8Array | undefined>;

/** A line `key=value` with where it stands and the filters that were in force there. */
export interface ConfigSetting {
  readonly key: string;
  readonly value: string;
  readonly filters: ConfigFilters;
  readonly file: string;
  readonly line: number;
}

/** A config.txt with what it includes, in the order in which the firmware meets it. */
export interface BootConfig {
  /** False if the file itself is not there: then the firmware's defaults are all there is. */
  readonly present: boolean;
  readonly settings: readonly ConfigSetting[];
  /** Folded paths of the file and of all it includes, those that are missing too. */
  readonly files: readonly string[];
  /** Sentences for people. */
  readonly warnings: readonly string[];
}

/**
 * Reads `name` and the files it includes. A file that includes itself, directly or not, is not entered again; depth and
 * number of includes are bounded. Filters flow into an included file and out of it, as its text stands in that place.
 */
export async function readBootConfig(name: string, read: ReadBootFile): Promise<BootConfig> {
  const reading = new ConfigReading(read);
  const present = await reading.enter(name, []);
  return { present, settings: reading.settings, files: [...reading.files], warnings: reading.warnings };
}

/** One spelling of a path as FAT sees it: lower case, without empty and `.` parts. A `..` stays, and so names no file. */
export function foldPath(path: string): string {
  const parts = path.toLowerCase().split('/');
  return parts.filter((part) => part !== '' && part !== '.').join('/');
}

class ConfigReading {
  readonly settings: ConfigSetting[] = [];
  readonly files = new Set<string>();
  readonly warnings: string[] = [];
  readonly #read: ReadBootFile;
  #filters: ConfigFilters = NO_FILTERS;
  #includes = 0;

  constructor(read: ReadBootFile) {
    this.#read = read;
  }

  /** `within` are the files that lead here, outermost first. Answers whether the file exists. */
  async enter(path: string, within: readonly string[]): Promise<boolean> {
    const file = foldPath(path);
    this.files.add(file);
    const bytes = await this.#read(file, CONFIG_FILE_BYTES_MAX + 1);
    if (bytes === undefined) return false;

    const { lines, warnings } = parseConfigTxt(bytes);
    this.warnings.push(...warnings.map((warning) => configWarningText(file, warning)));
    for (const line of lines) {
      if (line.kind === 'filter') this.#filters = withFilter(this.#filters, line.text);
      else if (line.kind === 'include') await this.#include(line.file, [...within, file], line.line);
      else this.settings.push({ key: line.key, value: line.value, filters: this.#filters, file, line: line.line });
    }
    return true;
  }

  async #include(path: string, within: readonly string[], line: number): Promise<void> {
    const place = `${within.at(-1)}:${line}`;
    if (within.includes(foldPath(path))) {
      this.warnings.push(`${place} includes ${path} within itself: not entered again`);
    } else if (within.length > CONFIG_INCLUDE_DEPTH_MAX || this.#includes >= CONFIG_INCLUDES_MAX) {
      this.warnings.push(`${place} includes ${path}: too many includes, not looked at`);
    } else {
      this.#includes += 1;
      const present = await this.enter(path, within);
      if (!present) this.warnings.push(`${place} includes ${path}, which is not there`);
    }
  }
}
