import { formatPerfScript, formatProfile, type Profiler } from "@x/profiling";

/** The profile in each format that some tool opens, by file name. */
export function profileFiles(profiler: Profiler): Record<string, string> {
  return {
    "profile.txt": formatProfile(profiler, "text"),
    "profile.json": formatProfile(profiler, "json"),
    "profile.csv": formatProfile(profiler, "csv"),
    "profile.collapsed": formatProfile(profiler, "collapsed"),
    "profile.perf": formatPerfScript(profiler),
  };
}
