/* A plugin of QEMU that counts how often each instruction is executed, and how often what ends a block is left by a jump.
 *
 * Arguments: marks=FILE, out=FILE, both in the working folder.
 * FILE of marks: lines "ADDRESS SEGMENT", both hexadecimal, each address once. What is executed from a mark on counts for
 * its segment, the marked instruction among it. Segment 0 stops, and segment 1 starts: others are passed over while it is
 * stopped.
 * out: lines "SEGMENT ADDRESS EXECUTED JUMPED", hexadecimal; each segment that is not 0, of those that were stopped.
 *
 * QEMU's own header is in no Debian package: what is declared here is its plugin interface, version 1
 * (https://www.qemu.org/docs/master/devel/tcg-plugins.html).
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef uint64_t qemu_plugin_id_t;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };

extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
                                                  void (*call)(qemu_plugin_id_t, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, void (*call)(unsigned, void *),
                                                 enum qemu_plugin_cb_flags flags, void *data);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, void (*call)(unsigned, void *),
                                                   enum qemu_plugin_cb_flags flags, void *data);
extern void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, enum qemu_plugin_op op,
                                                       void *target, uint64_t add);
extern void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*call)(qemu_plugin_id_t, void *), void *data);

#define EXPORTED __attribute__((visibility("default")))

EXPORTED int qemu_plugin_version = 1;
EXPORTED int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int count, char **arguments);

enum { STOP = 0, START = 1 };
enum { EXECUTED = 0, JUMPED = 1, COUNTS = 2 };

/* An instruction, wherever it was translated. */
struct instruction {
  uint64_t address;
  uint64_t now[COUNTS];  /* since the last mark */
  uint64_t *of[COUNTS];  /* by segment, as many as there are */
  struct instruction *next;    /* in its bucket */
  struct instruction *earlier; /* of all */
};
/* A block: where it begins and the instruction that it ends with, if it runs to its end. */
struct block {
  uint64_t first, behind;
  struct instruction *last;
};
struct mark {
  uint64_t address;
  uint32_t segment;
};

enum { BUCKETS = 1 << 16 };
static struct instruction *buckets[BUCKETS];
static struct instruction *latest;
static struct mark *marks;
static size_t mark_count;
static uint32_t segment_count = START + 1;
static uint32_t segment;
static int started;
static const struct block *before;
static const char *out_path;

static void *allocated(size_t bytes) {
  void *memory = calloc(1, bytes);
  if (memory == NULL) {
    fputs("counter: no memory\n", stderr);
    exit(1);
  }
  return memory;
}

static struct instruction *instruction_at(uint64_t address) {
  struct instruction **bucket = &buckets[(address >> 1) % BUCKETS];
  for (struct instruction *each = *bucket; each != NULL; each = each->next) {
    if (each->address == address) {
      return each;
    }
  }
  struct instruction *made = allocated(sizeof *made);
  made->address = address;
  for (int kind = 0; kind < COUNTS; ++kind) {
    made->of[kind] = allocated(segment_count * sizeof *made->of[kind]);
  }
  made->next = *bucket;
  *bucket = made;
  made->earlier = latest;
  latest = made;
  return made;
}

static int by_address(const void *left, const void *right) {
  const uint64_t a = ((const struct mark *)left)->address;
  const uint64_t b = ((const struct mark *)right)->address;
  return a < b ? -1 : a > b;
}

static struct mark *mark_at(uint64_t address) {
  const struct mark wanted = {address, 0};
  return bsearch(&wanted, marks, mark_count, sizeof *marks, by_address);
}

/* What was counted since the last mark goes to the segment that ends here. */
static void settle(void) {
  for (struct instruction *each = latest; each != NULL; each = each->earlier) {
    for (int kind = 0; kind < COUNTS; ++kind) {
      each->of[kind][segment] += each->now[kind];
      each->now[kind] = 0;
    }
  }
}

static void on_mark(unsigned cpu, void *data) {
  const struct mark *mark = data;
  (void)cpu;
  if (mark->segment == START) {
    started = 1;
  }
  if (!started || segment == mark->segment) {
    return;
  }
  settle();
  started = mark->segment != STOP;
  segment = mark->segment;
}

static void on_block(unsigned cpu, void *data) {
  const struct block *block = data;
  (void)cpu;
  if (before != NULL && before->behind != block->first) {
    ++before->last->now[JUMPED];
  }
  before = block;
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
  const size_t count = qemu_plugin_tb_n_insns(tb);
  struct block *block = allocated(sizeof *block);
  const struct mark *last = NULL;
  (void)id;
  for (size_t i = 0; i < count; ++i) {
    struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
    const uint64_t address = qemu_plugin_insn_vaddr(insn);
    struct instruction *instruction = instruction_at(address);
    struct mark *mark = mark_at(address);
    /* A block is entered at its beginning alone: what goes on in the same segment needs no look. */
    if (mark != NULL && (last == NULL || last->segment != mark->segment)) {
      qemu_plugin_register_vcpu_insn_exec_cb(insn, on_mark, QEMU_PLUGIN_CB_NO_REGS, mark);
    }
    last = mark != NULL ? mark : last;
    qemu_plugin_register_vcpu_insn_exec_inline(insn, QEMU_PLUGIN_INLINE_ADD_U64, &instruction->now[EXECUTED], 1);
    block->first = i == 0 ? address : block->first;
    block->behind = address + qemu_plugin_insn_size(insn);
    block->last = instruction;
  }
  qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS, block);
}

static void on_end(qemu_plugin_id_t id, void *unused) {
  FILE *out = fopen(out_path, "w");
  (void)id;
  (void)unused;
  for (const struct instruction *each = latest; out != NULL && each != NULL; each = each->earlier) {
    for (uint32_t s = START; s < segment_count; ++s) {
      if (each->of[EXECUTED][s] != 0) {
        fprintf(out, "%" PRIx32 " %" PRIx64 " %" PRIx64 " %" PRIx64 "\n", s, each->address, each->of[EXECUTED][s],
                each->of[JUMPED][s]);
      }
    }
  }
  if (out == NULL || fclose(out) != 0) {
    fputs("counter: the counts can't be written\n", stderr);
  }
}

static int read_marks(const char *path) {
  FILE *file = fopen(path, "r");
  uint64_t address;
  uint32_t number;
  size_t room = 0;
  if (file == NULL) {
    return 0;
  }
  while (fscanf(file, "%" SCNx64 " %" SCNx32, &address, &number) == 2) {
    if (mark_count == room) {
      room = room == 0 ? 64 : 2 * room;
      marks = realloc(marks, room * sizeof *marks);
      if (marks == NULL) {
        return 0;
      }
    }
    marks[mark_count].address = address;
    marks[mark_count].segment = number;
    ++mark_count;
    segment_count = number >= segment_count ? number + 1 : segment_count;
  }
  qsort(marks, mark_count, sizeof *marks, by_address);
  return fclose(file) == 0 && mark_count != 0;
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int count, char **arguments) {
  const char *marks_path = NULL;
  (void)info;
  for (int i = 0; i < count; ++i) {
    if (strncmp(arguments[i], "marks=", 6) == 0) {
      marks_path = arguments[i] + 6;
    } else if (strncmp(arguments[i], "out=", 4) == 0) {
      out_path = strdup(arguments[i] + 4);
    }
  }
  if (marks_path == NULL || out_path == NULL || !read_marks(marks_path)) {
    fputs("counter: expected marks=FILE, with marks in it, and out=FILE\n", stderr);
    return 1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
  qemu_plugin_register_atexit_cb(id, on_end, NULL);
  return 0;
}
