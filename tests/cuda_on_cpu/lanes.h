/* Threads that wait for each other: those of a block are coroutines, which change places where they wait.

   A wait is a meeting of a set of lanes: it ends when all of them that still run are there. */
#include <setjmp.h>
#include <ucontext.h>

enum { MOST_LANES = 256, STACK = 1 << 16, WARP = 32 };
enum Meeting { NONE, OF_WARP, OF_BLOCK };

struct Lane {
    ucontext_t first;
    jmp_buf place;
    bool begun, ended;
    Meeting meeting;
    unsigned int mask, source;
    unsigned long long given, taken;
};
static Lane lanes[MOST_LANES];
alignas(16) static char stacks[MOST_LANES][STACK];
static ucontext_t scheduler_context;
static jmp_buf scheduler;
static void (*call_kernel)(const void *);
static const void *called;
static unsigned int met; /* how often a wait or a lane has ended: without, all wait for ever */

static void give_way()
{
    if (!_setjmp(lanes[threadIdx.x].place)) _longjmp(scheduler, 1);
}

static void be_lane()
{
    for (;;) {
        call_kernel(called);
        lanes[threadIdx.x].ended = true;
        met++;
        give_way();
    }
}

static void resume(unsigned int thread)
{
    threadIdx = {thread, 0, 0};
    Lane &lane = lanes[thread];
    if (_setjmp(scheduler)) return;
    if (lane.begun) _longjmp(lane.place, 1);
    lane.begun = true;
    getcontext(&lane.first);
    lane.first.uc_stack.ss_sp = stacks[thread];
    lane.first.uc_stack.ss_size = STACK;
    lane.first.uc_link = nullptr;
    makecontext(&lane.first, be_lane, 0);
    swapcontext(&scheduler_context, &lane.first);
}

static bool is_there(const Lane &lane, const Lane &mine)
{
    return lane.ended || (lane.meeting == mine.meeting && lane.mask == mine.mask);
}

static void end_if_all_are_there()
{
    Lane &mine = lanes[threadIdx.x];
    unsigned int begin = mine.meeting == OF_BLOCK ? 0 : threadIdx.x / WARP * WARP;
    unsigned int end = mine.meeting == OF_BLOCK || begin + WARP > blockDim.x ? blockDim.x : begin + WARP;
    auto named = [&](unsigned int i) { return mine.meeting == OF_BLOCK || mine.mask >> (i - begin) & 1; };
    for (unsigned int i = begin; i < end; i++)
        if (named(i) && !is_there(lanes[i], mine)) return;
    Meeting meeting = mine.meeting;
    unsigned int mask = mine.mask;
    for (unsigned int i = begin; i < end; i++)
        if (!lanes[i].ended && lanes[i].meeting == meeting && lanes[i].mask == mask) {
            Lane &from = lanes[begin + lanes[i].source];
            lanes[i].taken = from.meeting == meeting && from.mask == mask ? from.given : lanes[i].given;
        }
    for (unsigned int i = begin; i < end; i++)
        if (!lanes[i].ended && lanes[i].meeting == meeting && lanes[i].mask == mask && i != threadIdx.x)
            lanes[i].meeting = NONE;
    mine.meeting = NONE;
    met++;
}

static void meet(Meeting meeting, unsigned int mask, unsigned int source, unsigned long long given)
{
    Lane &mine = lanes[threadIdx.x];
    mine.meeting = meeting, mine.mask = mask, mine.source = source, mine.given = given;
    for (;;) {
        end_if_all_are_there();
        if (mine.meeting == NONE) return;
        give_way();
        if (mine.meeting == NONE) return;
    }
}

template <class T> static T exchange(unsigned int mask, T value, unsigned int source)
{
    static_assert(sizeof(T) <= 8, "words");
    unsigned long long given = 0;
    __builtin_memcpy(&given, &value, sizeof value);
    meet(OF_WARP, mask, source, given);
    __builtin_memcpy(&value, &lanes[threadIdx.x].taken, sizeof value);
    return value;
}

static void __syncthreads() { meet(OF_BLOCK, 0, 0, 0); }
static void __syncwarp(unsigned int mask = 0xffffffffu) { meet(OF_WARP, mask, 0, 0); }

/* The lane that a lane reads: itself where the other is not among the `width` lanes of its part of the warp. */
static unsigned int within(unsigned int source, unsigned int width)
{
    unsigned int lane = threadIdx.x % WARP;
    return source / width == lane / width ? source : lane;
}
template <class T> static T __shfl_xor_sync(unsigned int mask, T value, int other, int width = WARP)
{
    return exchange(mask, value, within(threadIdx.x % WARP ^ other, width));
}
template <class T> static T __shfl_down_sync(unsigned int mask, T value, unsigned int steps, int width = WARP)
{
    return exchange(mask, value, within(threadIdx.x % WARP + steps, width));
}
template <class T> static T __shfl_up_sync(unsigned int mask, T value, unsigned int steps, int width = WARP)
{
    return exchange(mask, value, within(threadIdx.x % WARP - steps, width));
}
template <class T> static T __shfl_sync(unsigned int mask, T value, int source, int width = WARP)
{
    return exchange(mask, value, threadIdx.x % WARP / width * width + source % width);
}
static unsigned int __ballot_sync(unsigned int mask, int predicate)
{
    unsigned int votes = 0;
    for (unsigned int i = 0; i < WARP; i++)
        if (mask >> i & 1) votes |= (exchange(mask, (unsigned int)(predicate != 0), i) & 1) << i;
    return votes;
}
static int __any_sync(unsigned int mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
static int __all_sync(unsigned int mask, int predicate) { return __ballot_sync(mask, !predicate) == 0; }

template <class Kernel>
static Failure run_together(unsigned int first, unsigned int blocks, unsigned int threads, Kernel kernel)
{
    is_misaligned = false;
    gridDim = {blocks, 1, 1}, blockDim = {threads, 1, 1};
    called = &kernel;
    call_kernel = [](const void *kernel) { (*(const Kernel *)kernel)(); };
    for (unsigned int block = first; block < blocks; block++) {
        blockIdx = {block, 0, 0};
        for (unsigned int i = 0; i < threads; i++) lanes[i].ended = false, lanes[i].meeting = NONE;
        for (bool running = true; running;) {
            running = false;
            unsigned int before = met;
            for (unsigned int i = 0; i < threads; i++)
                if (!lanes[i].ended) resume(i), running = true;
            if (running && met == before) {
                for (unsigned int i = 0; i < threads; i++) lanes[i].begun = false;
                return ENDLESS;
            }
        }
    }
    return failure();
}
