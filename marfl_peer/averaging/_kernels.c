/* Averaging and encoding in C: what an exchange spends its time on besides the copies of the operating system.
 *
 * Each function goes through memory once where numpy takes a pass for every operation, and gives the same bits as numpy
 * does (averaging/strategies/mean.py, averaging/finite.py, averaging/codecs/): who has no compiler averages with those
 * who have one. So nothing may be fused or reordered here: build it with -ffp-contract=off and never with -ffast-math.
 *
 * Arguments are contiguous buffers of the types that averaging/kernels.py names; their sizes are checked, not their
 * types. The global interpreter lock is free while a function works.
 */

#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030b0000
#endif
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define BLOCK 128               /* values with one scale */
#define STEP_LEVELS 32767.0f    /* of what is left over: averaging/codecs/residuals.py */
#define SMALLEST_SCALE 1.17549435e-38f
#define LARGEST_SCALE (3.40282347e+38 * (1.0 - 1.0 / 128.0))
#define LARGEST_BFLOAT16 3.38953139e+38f
#define INFINITE 0x7f800000
#define TILE 64                 /* floats that stay in registers while all parts are added */
#define AHEAD_BYTES 2048        /* what lies so far beyond that which is worked on is asked for */
#define CACHE_LINE_BYTES 64

/* One build for every processor of the kind: the loader takes the fastest that it has. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_ALL_PROCESSORS __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FOR_ALL_PROCESSORS
#endif
#define INLINE static inline __attribute__((always_inline))

INLINE float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

INLINE uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Asks for what will be read soon: the processor itself stops at the end of a page, and there waits for each part anew. */
INLINE void ask_to_read(const float *from, size_t width)
{
    for (size_t at = 0; at < width * sizeof *from; at += CACHE_LINE_BYTES)
        __builtin_prefetch((const void *)((uintptr_t)from + AHEAD_BYTES + at), 0);
}

INLINE void ask_to_write(const float *to, size_t width)
{
    for (size_t at = 0; at < width * sizeof *to; at += CACHE_LINE_BYTES)
        __builtin_prefetch((const void *)((uintptr_t)to + AHEAD_BYTES + at), 1);
}

/* The largest magnitude, as bits: in the same order as the floats, and NaN is beyond infinity. */
INLINE int32_t largest_bits(const float *values, size_t count)
{
    int32_t largest = 0;
    for (size_t i = 0; i < count; i++) {
        int32_t bits = (int32_t)(bits_of(values[i]) & 0x7fffffffu);
        largest = bits > largest ? bits : largest;
    }
    return largest;
}

/* How one segment is encoded. Anything but `chances` and `out` may be NULL. */
typedef struct {
    size_t count; /* values */
    const float *chances;
    const int16_t *old_steps; /* what was left over, of all whole blocks, with one of `old_scales` a block; */
    const float *old_scales, *old_rest; /* behind the last whole block it is kept as it is */
    unsigned char *out;
    float *decoded;
    const float *decoded_base; /* what is added to `decoded` */
    int16_t *steps; /* what is left over now */
    float *scales, *rest;
} Encoding;

INLINE void take_off(float *target, const float *values, const float *base, size_t start, size_t width)
{
    ask_to_read(values + start, width);
    if (!base) {
        memcpy(target, values + start, width * sizeof *target);
        return;
    }
    ask_to_read(base + start, width);
    for (size_t i = 0; i < width; i++)
        target[i] = values[start + i] - base[start + i];
}

INLINE void put_on(float *out, const float *decoded, const float *base, size_t start, size_t width)
{
    ask_to_write(out + start, width);
    if (!base) {
        memcpy(out + start, decoded, width * sizeof *decoded);
        return;
    }
    ask_to_read(base + start, width);
    for (size_t i = 0; i < width; i++)
        out[start + i] = decoded[i] + base[start + i];
}

INLINE void feed_back(float *target, const Encoding *e, size_t start, size_t width)
{
    if (!e->old_steps)
        return;
    if (width == BLOCK) {
        const int16_t *steps = e->old_steps + start;
        float scale = e->old_scales[start / BLOCK];
        for (size_t i = 0; i < BLOCK; i++)
            target[i] = (float)steps[i] * scale + target[i];
    } else
        for (size_t i = 0; i < width; i++)
            target[i] = e->old_rest[i] + target[i];
}

/* `target` and what is decoded of it -> what is left over. */
INLINE void leave(float *target, const float *decoded, const Encoding *e, size_t start, size_t width)
{
    if (e->decoded)
        put_on(e->decoded, decoded, e->decoded_base, start, width);
    if (!e->steps)
        return;
    for (size_t i = 0; i < width; i++)
        target[i] = target[i] - decoded[i];
    if (width < BLOCK) {
        memcpy(e->rest, target, width * sizeof *target);
        return;
    }
    float scale = float_of((uint32_t)largest_bits(target, BLOCK)) / STEP_LEVELS;
    scale = scale < SMALLEST_SCALE ? SMALLEST_SCALE : scale;
    e->scales[start / BLOCK] = scale;
    float inverse = 1.0f / scale;
    int16_t *steps = e->steps + start;
    for (size_t i = 0; i < BLOCK; i++) {
        float step = target[i] * inverse;
        step = (step + 12582912.0f) - 12582912.0f; /* 1.5 * 2^23: to the nearest integer, ties to even */
        steps[i] = (int16_t)(int32_t)step;
    }
}

INLINE void quantise_block(float *target, const Encoding *e, size_t start, size_t width, int bits)
{
    float decoded[BLOCK];
    int8_t quanta[BLOCK];
    const float levels = bits == 8 ? 127.0f : 7.0f, most = (float)(LARGEST_SCALE / (bits == 8 ? 127.0 : 7.0));
    const float *chances = e->chances + start;
    unsigned char *scales = e->out, *quantised = e->out + 2 * ((e->count + BLOCK - 1) / BLOCK);

    ask_to_read(chances, width);
    feed_back(target, e, start, width);
    float right = float_of((uint32_t)largest_bits(target, width)) / levels;
    right = right > most ? most : right;
    uint32_t scale = (bits_of(right) + 0xffffu) >> 16; /* rounded up, or the largest value would not fit */
    float used = float_of(scale << 16), inverse = 0.0f;
    if (used >= SMALLEST_SCALE)
        inverse = 1.0f / used;
    else {
        scale = 0;
        used = 0.0f;
    }
    uint16_t stored = (uint16_t)scale;
    memcpy(scales + 2 * (start / BLOCK), &stored, sizeof stored);
    for (size_t i = 0; i < width; i++) {
        float value = target[i] * inverse;
        value = value + chances[i];
        value = value < -levels ? -levels : value;
        decoded[i] = value > levels ? levels : value;
    }
    for (size_t i = 0; i < width; i++) {
        int32_t floor = (int32_t)decoded[i];
        floor -= (float)floor > decoded[i] ? 1 : 0;
        quanta[i] = (int8_t)floor;
        decoded[i] = (float)floor * used;
    }
    if (bits == 8)
        memcpy(quantised + start, quanta, width);
    else {
        unsigned char *pairs = quantised + start / 2;
        for (size_t i = 0; i < width / 2; i++)
            pairs[i] = (unsigned char)((quanta[2 * i] + 8) | (quanta[2 * i + 1] + 8) << 4);
        if (width % 2)
            pairs[width / 2] = (unsigned char)(quanta[width - 1] + 8);
    }
    leave(target, decoded, e, start, width);
}

INLINE void halve_block(float *target, const Encoding *e, size_t start, size_t width)
{
    float decoded[BLOCK];
    uint16_t halves[BLOCK];

    feed_back(target, e, start, width);
    for (size_t i = 0; i < width; i++) {
        float value = target[i] > LARGEST_BFLOAT16 ? LARGEST_BFLOAT16 : target[i];
        value = value < -LARGEST_BFLOAT16 ? -LARGEST_BFLOAT16 : value;
        uint32_t bits = bits_of(value);
        bits = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16; /* to the nearest, ties to even */
        halves[i] = (uint16_t)bits;
        decoded[i] = float_of(bits << 16);
    }
    memcpy(e->out + 2 * start, halves, width * sizeof *halves);
    leave(target, decoded, e, start, width);
}

/* `target` is used up. */
INLINE void encode_block(float *target, const Encoding *e, size_t start, size_t width, int bits)
{
    if (bits == 16)
        halve_block(target, e, start, width);
    else
        quantise_block(target, e, start, width, bits);
}

INLINE void decode_block(float *target, const unsigned char *data, size_t count, size_t start, size_t width, int bits)
{
    if (bits == 16) {
        for (size_t i = 0; i < width; i++) {
            uint16_t half;
            memcpy(&half, data + 2 * (start + i), sizeof half);
            target[i] = float_of((uint32_t)half << 16);
        }
        return;
    }
    int8_t quanta[BLOCK];
    uint16_t stored;
    memcpy(&stored, data + 2 * (start / BLOCK), sizeof stored);
    float scale = float_of((uint32_t)stored << 16);
    const unsigned char *quantised = data + 2 * ((count + BLOCK - 1) / BLOCK);
    if (bits == 8)
        memcpy(quanta, quantised + start, width);
    else {
        const unsigned char *pairs = quantised + start / 2;
        for (size_t i = 0; i < width / 2; i++) {
            quanta[2 * i] = (int8_t)((pairs[i] & 15) - 8);
            quanta[2 * i + 1] = (int8_t)((pairs[i] >> 4) - 8);
        }
        if (width % 2)
            quanta[width - 1] = (int8_t)((pairs[width / 2] & 15) - 8);
    }
    for (size_t i = 0; i < width; i++)
        target[i] = (float)quanta[i] * scale;
}

/* What a segment is combined from: `parts` as they travelled, of which one may be this peer's own, NULL. */
typedef struct {
    const unsigned char *const *parts;
    const float *factors;
    size_t of;
    const float *own, *base;
} Sum;

/* target <- sum of factors[k] * parts[k], in that order. */
INLINE void sum_block(float *target, const Sum *s, size_t count, size_t start, size_t width, int bits)
{
    float part[BLOCK];
    for (size_t k = 0; k < s->of; k++) {
        const float factor = s->factors[k];
        if (s->parts[k])
            decode_block(part, s->parts[k], count, start, width, bits);
        else
            take_off(part, s->own, s->base, start, width);
        if (k)
            for (size_t i = 0; i < width; i++)
                target[i] = target[i] + part[i] * factor;
        else
            for (size_t i = 0; i < width; i++)
                target[i] = part[i] * factor;
    }
}

/* Whole segments. The compiler knows `bits`, and the width of all blocks but the last. */

INLINE void encode_start(const float *values, const float *base, const Encoding *e, size_t start, size_t width, int bits)
{
    float target[BLOCK];
    take_off(target, values, base, start, width);
    encode_block(target, e, start, width, bits);
}

INLINE void encode_all(const float *values, const float *base, const Encoding *e, int bits)
{
    size_t start = 0;
    for (; start + BLOCK <= e->count; start += BLOCK)
        encode_start(values, base, e, start, BLOCK, bits);
    if (start < e->count)
        encode_start(values, base, e, start, e->count - start, bits);
}

INLINE void decode_start(
    const unsigned char *data, const float *base, float *out, size_t count, size_t start, size_t width, int bits)
{
    float target[BLOCK];
    decode_block(target, data, count, start, width, bits);
    put_on(out, target, base, start, width);
}

INLINE void decode_all(const unsigned char *data, const float *base, float *out, size_t count, int bits)
{
    size_t start = 0;
    for (; start + BLOCK <= count; start += BLOCK)
        decode_start(data, base, out, count, start, BLOCK, bits);
    if (start < count)
        decode_start(data, base, out, count, start, count - start, bits);
}

/* Returns the largest magnitude of the sum, as bits. */
INLINE int32_t combine_start(const Sum *s, const Encoding *e, size_t start, size_t width, int bits)
{
    float target[BLOCK];
    sum_block(target, s, e->count, start, width, bits);
    int32_t largest = largest_bits(target, width);
    encode_block(target, e, start, width, bits);
    return largest;
}

INLINE int combine_all(const Sum *s, const Encoding *e, int bits)
{
    size_t start = 0;
    int32_t largest = 0;
    for (; start + BLOCK <= e->count; start += BLOCK) {
        int32_t here = combine_start(s, e, start, BLOCK, bits);
        largest = here > largest ? here : largest;
    }
    if (start < e->count) {
        int32_t here = combine_start(s, e, start, e->count - start, bits);
        largest = here > largest ? here : largest;
    }
    return largest < INFINITE;
}

/* What is done with one codec. */
typedef struct {
    void (*encode)(const float *values, const float *base, const Encoding *e);
    void (*decode)(const unsigned char *data, const float *base, float *out, size_t count);
    int (*combine)(const Sum *s, const Encoding *e); /* whether the sum was finite */
} Codec;

#define CODEC(name, bits)                                                                                              \
    FOR_ALL_PROCESSORS static void encode_##name(const float *values, const float *base, const Encoding *e)            \
    {                                                                                                                  \
        encode_all(values, base, e, bits);                                                                             \
    }                                                                                                                  \
    FOR_ALL_PROCESSORS static void decode_##name(                                                                      \
        const unsigned char *data, const float *base, float *out, size_t count)                                        \
    {                                                                                                                  \
        decode_all(data, base, out, count, bits);                                                                      \
    }                                                                                                                  \
    FOR_ALL_PROCESSORS static int combine_##name(const Sum *s, const Encoding *e)                                      \
    {                                                                                                                  \
        return combine_all(s, e, bits);                                                                                \
    }                                                                                                                  \
    static const Codec name = {encode_##name, decode_##name, combine_##name};

CODEC(int8, 8)
CODEC(int4, 4)
CODEC(bfloat16, 16)

/* Returns the largest magnitude of the sum, as bits. */
INLINE int32_t weigh_start(
    float *out, const float *const *parts, const float *factors, size_t of, size_t start, size_t width)
{
    float sum[TILE];
    for (size_t k = 0; k < of; k++)
        ask_to_read(parts[k] + start, width);
    ask_to_write(out + start, width);
    for (size_t i = 0; i < width; i++)
        sum[i] = parts[0][start + i] * factors[0];
    for (size_t k = 1; k < of; k++) {
        const float *part = parts[k] + start, factor = factors[k];
        for (size_t i = 0; i < width; i++)
            sum[i] = sum[i] + part[i] * factor;
    }
    memcpy(out + start, sum, width * sizeof *sum);
    return largest_bits(sum, width);
}

/* out <- sum of factors[k] * parts[k], in that order; `out` may be parts[0]. Returns whether it is finite. */
FOR_ALL_PROCESSORS static int weigh(float *out, const float *const *parts, const float *factors, size_t of, size_t count)
{
    int32_t largest = 0;
    size_t start = 0;
    for (; start + TILE <= count; start += TILE) {
        int32_t here = weigh_start(out, parts, factors, of, start, TILE);
        largest = here > largest ? here : largest;
    }
    if (start < count) {
        int32_t here = weigh_start(out, parts, factors, of, start, count - start);
        largest = here > largest ? here : largest;
    }
    return largest < INFINITE;
}

FOR_ALL_PROCESSORS static int all_finite(const float *values, size_t count)
{
    int32_t largest = 0;
    size_t start = 0;
    for (; start + TILE <= count; start += TILE) {
        ask_to_read(values + start, TILE);
        int32_t here = largest_bits(values + start, TILE);
        largest = here > largest ? here : largest;
    }
    int32_t here = largest_bits(values + start, count - start);
    largest = here > largest ? here : largest;
    return largest < INFINITE;
}

/* Python's side */

#define MAX_PARTS 128
#define MAX_BUFFERS (MAX_PARTS + 12)

typedef struct {
    Py_buffer views[MAX_BUFFERS];
    int taken;
} Buffers;

static void release(Buffers *buffers)
{
    while (buffers->taken)
        PyBuffer_Release(&buffers->views[--buffers->taken]);
}

/* The memory of `object`; NULL and an exception where it is no buffer of `bytes` bytes (any number of float32: -1). */
static void *memory(Buffers *buffers, PyObject *object, const char *what, Py_ssize_t bytes, int flags)
{
    if (buffers->taken == MAX_BUFFERS) {
        PyErr_SetString(PyExc_ValueError, "too many buffers");
        return NULL;
    }
    Py_buffer *view = &buffers->views[buffers->taken];
    if (PyObject_GetBuffer(object, view, flags) < 0)
        return NULL;
    buffers->taken++;
    if (bytes < 0 ? view->len % (Py_ssize_t)sizeof(float) : view->len != bytes) {
        PyErr_Format(PyExc_ValueError, "%s: %zd bytes", what, view->len);
        return NULL;
    }
    return view->buf ? view->buf : (void *)""; /* of nothing */
}

#define TAKE(target, object, what, bytes, flags) \
    if (!((target) = memory(&buffers, (object), (what), (bytes), (flags)))) \
        goto failed

/* Like TAKE; None is NULL. */
#define TAKE_OR_NONE(target, object, what, bytes, flags) \
    if ((object) != Py_None) \
        TAKE(target, object, what, bytes, flags)

static Py_ssize_t encoded_bytes(long bits, Py_ssize_t count)
{
    return bits == 16 ? 2 * count : 2 * ((count + BLOCK - 1) / BLOCK) + (count * bits + 7) / 8;
}

static int expects(Py_ssize_t expected, Py_ssize_t given)
{
    if (given != expected)
        PyErr_Format(PyExc_TypeError, "%zd arguments, not %zd", expected, given);
    return given == expected;
}

/* The codec that the first of the `expected` arguments names by its bits; NULL and an exception where there is none. */
static const Codec *codec_of(PyObject *const *args, Py_ssize_t given, Py_ssize_t expected, long *bits)
{
    if (!expects(expected, given))
        return NULL;
    *bits = PyLong_AsLong(args[0]);
    if (*bits == 8)
        return &int8;
    if (*bits == 4)
        return &int4;
    if (*bits == 16)
        return &bfloat16;
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "bits: 4, 8 or 16");
    return NULL;
}

/* What was left over, and what is: arguments `before` and `left`, which may be None. The views hold the memory. */
static int take_left(Buffers *buffers, PyObject *before, PyObject *left, Encoding *e)
{
    Py_ssize_t count = (Py_ssize_t)e->count, whole = count - count % BLOCK;
    Py_ssize_t sizes[3] = {2 * whole, 4 * (whole / BLOCK), 4 * (count - whole)};
    static const char *const names[3] = {"steps", "scales", "rest"};
    void *taken[2][3] = {{NULL}};
    PyObject *of[2] = {before, left};
    int is_taken = 1;
    for (int which = 0; which < 2 && is_taken; which++) {
        int flags = which ? PyBUF_WRITABLE : PyBUF_SIMPLE;
        if (of[which] == Py_None)
            continue;
        for (int i = 0; i < 3 && is_taken; i++) {
            PyObject *item = PySequence_GetItem(of[which], i);
            taken[which][i] = item ? memory(buffers, item, names[i], sizes[i], flags) : NULL;
            Py_XDECREF(item);
            is_taken = taken[which][i] != NULL;
        }
    }
    e->old_steps = taken[0][0];
    e->old_scales = taken[0][1];
    e->old_rest = taken[0][2];
    e->steps = taken[1][0];
    e->scales = taken[1][1];
    e->rest = taken[1][2];
    return is_taken;
}

/* encode(bits, values, base, before, chances, out, decoded, left): see averaging/kernels.py */
static PyObject *encode(PyObject *module, PyObject *const *args, Py_ssize_t given)
{
    long bits;
    const Codec *codec = codec_of(args, given, 8, &bits);
    if (!codec)
        return NULL;
    Buffers buffers;
    buffers.taken = 0;
    const float *values, *base = NULL;
    Encoding e = {0};
    PyObject *result = NULL;

    TAKE(values, args[1], "values", -1, PyBUF_SIMPLE);
    Py_ssize_t bytes = buffers.views[0].len;
    e.count = (size_t)bytes / sizeof(float);
    TAKE_OR_NONE(base, args[2], "base", bytes, PyBUF_SIMPLE);
    TAKE(e.chances, args[4], "chances", bytes, PyBUF_SIMPLE);
    TAKE(e.out, args[5], "out", encoded_bytes(bits, (Py_ssize_t)e.count), PyBUF_WRITABLE);
    TAKE_OR_NONE(e.decoded, args[6], "decoded", bytes, PyBUF_WRITABLE);
    if (!take_left(&buffers, args[3], args[7], &e))
        goto failed;
    Py_BEGIN_ALLOW_THREADS
    codec->encode(values, base, &e);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
failed:
    release(&buffers);
    return result;
}

/* decode(bits, encoded, base, out) */
static PyObject *decode(PyObject *module, PyObject *const *args, Py_ssize_t given)
{
    long bits;
    const Codec *codec = codec_of(args, given, 4, &bits);
    if (!codec)
        return NULL;
    Buffers buffers;
    buffers.taken = 0;
    const unsigned char *data;
    const float *base = NULL;
    float *out;
    PyObject *result = NULL;

    TAKE(out, args[3], "out", -1, PyBUF_WRITABLE);
    Py_ssize_t bytes = buffers.views[0].len;
    size_t count = (size_t)bytes / sizeof(float);
    TAKE(data, args[1], "encoded", encoded_bytes(bits, (Py_ssize_t)count), PyBUF_SIMPLE);
    TAKE_OR_NONE(base, args[2], "base", bytes, PyBUF_SIMPLE);
    Py_BEGIN_ALLOW_THREADS
    codec->decode(data, base, out, count);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
failed:
    release(&buffers);
    return result;
}

/* How many there are of `parts`, with as many `factors`, each a float32; -1 and an exception where that is not so. */
static Py_ssize_t take_factors(PyObject *parts, PyObject *from, float factors[MAX_PARTS])
{
    Py_ssize_t of = PySequence_Size(parts);
    if (of < 0)
        return -1;
    if (of < 1 || of > MAX_PARTS || PySequence_Size(from) != of) {
        if (!PyErr_Occurred())
            PyErr_Format(PyExc_ValueError, "%zd parts, and as many factors", of);
        return -1;
    }
    for (Py_ssize_t k = 0; k < of; k++) {
        PyObject *factor = PySequence_GetItem(from, k);
        factors[k] = factor ? (float)PyFloat_AsDouble(factor) : 0.0f;
        Py_XDECREF(factor);
        if (PyErr_Occurred())
            return -1;
    }
    return of;
}

/* combine(bits, parts, factors, own, base, before, chances, out, result, left) */
static PyObject *combine(PyObject *module, PyObject *const *args, Py_ssize_t given)
{
    long bits;
    const Codec *codec = codec_of(args, given, 10, &bits);
    if (!codec)
        return NULL;
    float factors[MAX_PARTS];
    const unsigned char *parts[MAX_PARTS];
    Py_ssize_t of = take_factors(args[1], args[2], factors);
    if (of < 0)
        return NULL;
    Buffers buffers;
    buffers.taken = 0;
    Sum s = {.parts = parts, .factors = factors, .of = (size_t)of};
    Encoding e = {0};
    int finite;
    PyObject *result = NULL;

    TAKE(s.own, args[3], "own", -1, PyBUF_SIMPLE);
    Py_ssize_t bytes = buffers.views[0].len;
    e.count = (size_t)bytes / sizeof(float);
    Py_ssize_t size = encoded_bytes(bits, (Py_ssize_t)e.count);
    for (Py_ssize_t k = 0; k < of; k++) {
        PyObject *part = PySequence_GetItem(args[1], k);
        if (!part)
            goto failed;
        parts[k] = part == Py_None ? NULL : memory(&buffers, part, "part", size, PyBUF_SIMPLE);
        Py_DECREF(part); /* the view holds it */
        if (PyErr_Occurred())
            goto failed;
    }
    TAKE_OR_NONE(s.base, args[4], "base", bytes, PyBUF_SIMPLE);
    e.decoded_base = s.base;
    TAKE(e.chances, args[6], "chances", bytes, PyBUF_SIMPLE);
    TAKE(e.out, args[7], "out", size, PyBUF_WRITABLE);
    TAKE(e.decoded, args[8], "result", bytes, PyBUF_WRITABLE);
    if (!take_left(&buffers, args[5], args[9], &e))
        goto failed;
    Py_BEGIN_ALLOW_THREADS
    finite = codec->combine(&s, &e);
    Py_END_ALLOW_THREADS
    result = PyBool_FromLong(finite);
failed:
    release(&buffers);
    return result;
}

/* mean(out, parts, factors) */
static PyObject *mean(PyObject *module, PyObject *const *args, Py_ssize_t given)
{
    if (!expects(3, given))
        return NULL;
    const float *parts[MAX_PARTS];
    float factors[MAX_PARTS], *out;
    Py_ssize_t of = take_factors(args[1], args[2], factors);
    if (of < 0)
        return NULL;
    Buffers buffers;
    buffers.taken = 0;
    int finite;
    PyObject *result = NULL;

    TAKE(out, args[0], "out", -1, PyBUF_WRITABLE);
    Py_ssize_t bytes = buffers.views[0].len;
    for (Py_ssize_t k = 0; k < of; k++) {
        PyObject *part = PySequence_GetItem(args[1], k);
        parts[k] = part ? memory(&buffers, part, "part", bytes, PyBUF_SIMPLE) : NULL;
        Py_XDECREF(part); /* the view holds it */
        if (!parts[k])
            goto failed;
    }
    Py_BEGIN_ALLOW_THREADS
    finite = weigh(out, parts, factors, (size_t)of, (size_t)bytes / sizeof(float));
    Py_END_ALLOW_THREADS
    result = PyBool_FromLong(finite);
failed:
    release(&buffers);
    return result;
}

/* is_finite(values) */
static PyObject *is_finite(PyObject *module, PyObject *values)
{
    Buffers buffers;
    buffers.taken = 0;
    const float *floats;
    PyObject *result = NULL;
    int finite;

    TAKE(floats, values, "values", -1, PyBUF_SIMPLE);
    size_t count = (size_t)buffers.views[0].len / sizeof(float);
    Py_BEGIN_ALLOW_THREADS
    finite = all_finite(floats, count);
    Py_END_ALLOW_THREADS
    result = PyBool_FromLong(finite);
failed:
    release(&buffers);
    return result;
}

static PyMethodDef functions[] = {
    {"encode", (PyCFunction)(void (*)(void))encode, METH_FASTCALL, NULL},
    {"decode", (PyCFunction)(void (*)(void))decode, METH_FASTCALL, NULL},
    {"combine", (PyCFunction)(void (*)(void))combine, METH_FASTCALL, NULL},
    {"mean", (PyCFunction)(void (*)(void))mean, METH_FASTCALL, NULL},
    {"is_finite", is_finite, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_kernels", .m_methods = functions, .m_slots = slots,
};

PyMODINIT_FUNC PyInit__kernels(void)
{
    return PyModuleDef_Init(&definition);
}
