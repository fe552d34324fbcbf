/*
 * What a thread has fetched by Atomics stays where it is, and its bytes visible to plain loads, as long as no CPU of that thread has
 * announced a quiescent state, come online or begun a section since. Whoever unpublishes it begins, after that, a grace period which
 * waits for that.
 *
 * So a word that is loaded plainly and still names what was fetched in the same interval is as good as one loaded by Atomics: it
 * cannot have been freed, reused and published again in between. A plain load may show an old value for a while: not beyond the
 * announcement that ends a grace period begun after the new value was published, because that announcement loads by Atomics what
 * the writer has stored after publishing.
 */

/** Counts the intervals of one thread, whichever of its CPUs ends them. A double, so that no number comes again. */
export class ReadInterval {
  current = 0;
}
