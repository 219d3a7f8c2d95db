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
#define TILE 2048               /* floats that stay in the smallest cache while all parts are added */

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

/* What one segment is encoded from and to. Anything but `values`, `chances` and `out` may be NULL. */
typedef struct {
    size_t count, blocks; /* values, and whole blocks of them */
    const float *values, *base, *chances;
    const int16_t *old_steps; /* what was left over, [blocks][BLOCK], with one of `old_scales` a block; */
    const float *old_scales, *old_rest; /* behind the last whole block it is kept as it is */
    unsigned char *out;
    float *decoded;
    int16_t *steps; /* what is left over now */
    float *scales, *rest;
} Encoding;

INLINE void gather(float *target, const Encoding *e, size_t start, size_t width)
{
    const float *values = e->values + start;
    if (e->base)
        for (size_t i = 0; i < width; i++)
            target[i] = values[i] - e->base[start + i];
    else
        memcpy(target, values, width * sizeof *target);
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
        memcpy(e->decoded + start, decoded, width * sizeof *decoded);
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

INLINE void quantise_block(const Encoding *e, size_t start, size_t width, int bits)
{
    float target[BLOCK], decoded[BLOCK];
    int8_t quanta[BLOCK];
    const float levels = bits == 8 ? 127.0f : 7.0f, most = (float)(LARGEST_SCALE / (bits == 8 ? 127.0 : 7.0));
    const float *chances = e->chances + start;
    unsigned char *scales = e->out, *quantised = e->out + 2 * ((e->count + BLOCK - 1) / BLOCK);

    gather(target, e, start, width);
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

INLINE void halve_block(const Encoding *e, size_t start, size_t width)
{
    float target[BLOCK], decoded[BLOCK];
    uint16_t halves[BLOCK];
    gather(target, e, start, width);
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

FOR_ALL_PROCESSORS static void encode_int8(const Encoding *e)
{
    for (size_t block = 0; block < e->blocks; block++)
        quantise_block(e, block * BLOCK, BLOCK, 8);
    if (e->count % BLOCK)
        quantise_block(e, e->blocks * BLOCK, e->count % BLOCK, 8);
}

FOR_ALL_PROCESSORS static void encode_int4(const Encoding *e)
{
    for (size_t block = 0; block < e->blocks; block++)
        quantise_block(e, block * BLOCK, BLOCK, 4);
    if (e->count % BLOCK)
        quantise_block(e, e->blocks * BLOCK, e->count % BLOCK, 4);
}

FOR_ALL_PROCESSORS static void encode_bfloat16(const Encoding *e)
{
    for (size_t block = 0; block < e->blocks; block++)
        halve_block(e, block * BLOCK, BLOCK);
    if (e->count % BLOCK)
        halve_block(e, e->blocks * BLOCK, e->count % BLOCK);
}

/* What one segment is decoded from and to. `base` may be NULL. */
typedef struct {
    size_t count;
    const unsigned char *data;
    const float *base;
    float *out;
} Decoding;

INLINE void put(const Decoding *d, const float *decoded, size_t start, size_t width)
{
    float *out = d->out + start;
    if (d->base)
        for (size_t i = 0; i < width; i++)
            out[i] = decoded[i] + d->base[start + i];
    else
        memcpy(out, decoded, width * sizeof *decoded);
}

INLINE void dequantise_block(const Decoding *d, size_t start, size_t width, int bits)
{
    float decoded[BLOCK];
    uint16_t stored;
    memcpy(&stored, d->data + 2 * (start / BLOCK), sizeof stored);
    float scale = float_of((uint32_t)stored << 16);
    const unsigned char *quantised = d->data + 2 * ((d->count + BLOCK - 1) / BLOCK);
    if (bits == 8) {
        const int8_t *quanta = (const int8_t *)quantised + start;
        for (size_t i = 0; i < width; i++)
            decoded[i] = (float)quanta[i] * scale;
    } else {
        int8_t quanta[BLOCK];
        const unsigned char *pairs = quantised + start / 2;
        for (size_t i = 0; i < width / 2; i++) {
            quanta[2 * i] = (int8_t)((pairs[i] & 15) - 8);
            quanta[2 * i + 1] = (int8_t)((pairs[i] >> 4) - 8);
        }
        if (width % 2)
            quanta[width - 1] = (int8_t)((pairs[width / 2] & 15) - 8);
        for (size_t i = 0; i < width; i++)
            decoded[i] = (float)quanta[i] * scale;
    }
    put(d, decoded, start, width);
}

FOR_ALL_PROCESSORS static void decode_int8(const Decoding *d)
{
    size_t whole = d->count - d->count % BLOCK;
    for (size_t start = 0; start < whole; start += BLOCK)
        dequantise_block(d, start, BLOCK, 8);
    if (whole < d->count)
        dequantise_block(d, whole, d->count - whole, 8);
}

FOR_ALL_PROCESSORS static void decode_int4(const Decoding *d)
{
    size_t whole = d->count - d->count % BLOCK;
    for (size_t start = 0; start < whole; start += BLOCK)
        dequantise_block(d, start, BLOCK, 4);
    if (whole < d->count)
        dequantise_block(d, whole, d->count - whole, 4);
}

FOR_ALL_PROCESSORS static void decode_bfloat16(const Decoding *d)
{
    for (size_t i = 0; i < d->count; i++) {
        uint16_t half;
        memcpy(&half, d->data + 2 * i, sizeof half);
        d->out[i] = float_of((uint32_t)half << 16);
    }
    if (d->base)
        for (size_t i = 0; i < d->count; i++)
            d->out[i] = d->out[i] + d->base[i];
}

/* out <- sum of factors[k] * parts[k], in that order; `out` may be parts[0]. */
FOR_ALL_PROCESSORS static void weigh(float *out, const float *const *parts, const float *factors, size_t of, size_t count)
{
    for (size_t start = 0; start < count; start += TILE) {
        size_t width = count - start < TILE ? count - start : TILE;
        float sum[TILE];
        const float *first = parts[0] + start;
        for (size_t i = 0; i < width; i++)
            sum[i] = first[i] * factors[0];
        for (size_t k = 1; k < of; k++) {
            const float *part = parts[k] + start, factor = factors[k];
            for (size_t i = 0; i < width; i++)
                sum[i] = sum[i] + part[i] * factor;
        }
        memcpy(out + start, sum, width * sizeof *sum);
    }
}

FOR_ALL_PROCESSORS static int all_finite(const float *values, size_t count)
{
    return largest_bits(values, count) < INFINITE;
}

/* Python's side */

#define MAX_BUFFERS 160

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

static int known(long bits)
{
    if (bits == 4 || bits == 8 || bits == 16)
        return 1;
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "bits: 4, 8 or 16");
    return 0;
}

static int expects(Py_ssize_t expected, Py_ssize_t given)
{
    if (given != expected)
        PyErr_Format(PyExc_TypeError, "%zd arguments, not %zd", expected, given);
    return given == expected;
}

/* encode(bits, values, base, before, chances, out, decoded, left): see averaging/kernels.py */
static PyObject *encode(PyObject *module, PyObject *const *args, Py_ssize_t given)
{
    if (!expects(8, given))
        return NULL;
    long bits = PyLong_AsLong(args[0]);
    if (!known(bits))
        return NULL;
    Buffers buffers;
    buffers.taken = 0;
    PyObject *before[3] = {NULL}, *left[3] = {NULL};
    Encoding e = {0};
    PyObject *result = NULL;

    TAKE(e.values, args[1], "values", -1, PyBUF_SIMPLE);
    Py_ssize_t bytes = buffers.views[0].len, count = bytes / (Py_ssize_t)sizeof(float);
    Py_ssize_t whole = count - count % BLOCK, scales_bytes = whole / BLOCK * (Py_ssize_t)sizeof(float);
    e.count = (size_t)count;
    e.blocks = (size_t)(count / BLOCK);
    TAKE_OR_NONE(e.base, args[2], "base", bytes, PyBUF_SIMPLE);
    if (args[3] != Py_None) {
        for (int i = 0; i < 3; i++)
            if (!(before[i] = PySequence_GetItem(args[3], i)))
                goto failed;
        TAKE(e.old_steps, before[0], "before.steps", 2 * whole, PyBUF_SIMPLE);
        TAKE(e.old_scales, before[1], "before.scales", scales_bytes, PyBUF_SIMPLE);
        TAKE(e.old_rest, before[2], "before.rest", bytes - 4 * whole, PyBUF_SIMPLE);
    }
    TAKE(e.chances, args[4], "chances", bytes, PyBUF_SIMPLE);
    TAKE(e.out, args[5], "out", encoded_bytes(bits, count), PyBUF_WRITABLE);
    TAKE_OR_NONE(e.decoded, args[6], "decoded", bytes, PyBUF_WRITABLE);
    if (args[7] != Py_None) {
        for (int i = 0; i < 3; i++)
            if (!(left[i] = PySequence_GetItem(args[7], i)))
                goto failed;
        TAKE(e.steps, left[0], "left.steps", 2 * whole, PyBUF_WRITABLE);
        TAKE(e.scales, left[1], "left.scales", scales_bytes, PyBUF_WRITABLE);
        TAKE(e.rest, left[2], "left.rest", bytes - 4 * whole, PyBUF_WRITABLE);
    }
    Py_BEGIN_ALLOW_THREADS
    if (bits == 8)
        encode_int8(&e);
    else if (bits == 4)
        encode_int4(&e);
    else
        encode_bfloat16(&e);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
failed:
    release(&buffers);
    for (int i = 0; i < 3; i++) {
        Py_XDECREF(before[i]);
        Py_XDECREF(left[i]);
    }
    return result;
}

/* decode(bits, encoded, base, out) */
static PyObject *decode(PyObject *module, PyObject *const *args, Py_ssize_t given)
{
    if (!expects(4, given))
        return NULL;
    long bits = PyLong_AsLong(args[0]);
    if (!known(bits))
        return NULL;
    Buffers buffers;
    buffers.taken = 0;
    Decoding d = {0};
    PyObject *result = NULL;

    TAKE(d.out, args[3], "out", -1, PyBUF_WRITABLE);
    Py_ssize_t bytes = buffers.views[0].len, count = bytes / (Py_ssize_t)sizeof(float);
    d.count = (size_t)count;
    TAKE(d.data, args[1], "encoded", encoded_bytes(bits, count), PyBUF_SIMPLE);
    TAKE_OR_NONE(d.base, args[2], "base", bytes, PyBUF_SIMPLE);
    Py_BEGIN_ALLOW_THREADS
    if (bits == 8)
        decode_int8(&d);
    else if (bits == 4)
        decode_int4(&d);
    else
        decode_bfloat16(&d);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
failed:
    release(&buffers);
    return result;
}

/* mean(out, parts, factors) */
static PyObject *mean(PyObject *module, PyObject *const *args, Py_ssize_t given)
{
    if (!expects(3, given))
        return NULL;
    Py_ssize_t of = PySequence_Size(args[1]);
    if (of < 0)
        return NULL;
    if (of < 1 || of >= MAX_BUFFERS || PySequence_Size(args[2]) != of) {
        if (!PyErr_Occurred())
            PyErr_Format(PyExc_ValueError, "%zd parts, and as many factors", of);
        return NULL;
    }
    Buffers buffers;
    buffers.taken = 0;
    const float *parts[MAX_BUFFERS];
    float factors[MAX_BUFFERS], *out;
    PyObject *result = NULL;

    TAKE(out, args[0], "out", -1, PyBUF_WRITABLE);
    Py_ssize_t bytes = buffers.views[0].len;
    for (Py_ssize_t k = 0; k < of; k++) {
        PyObject *part = PySequence_GetItem(args[1], k), *factor = PySequence_GetItem(args[2], k);
        parts[k] = part && factor ? memory(&buffers, part, "part", bytes, PyBUF_SIMPLE) : NULL;
        factors[k] = factor ? (float)PyFloat_AsDouble(factor) : 0.0f;
        Py_XDECREF(part); /* the view holds it */
        Py_XDECREF(factor);
        if (PyErr_Occurred())
            goto failed;
    }
    Py_BEGIN_ALLOW_THREADS
    weigh(out, parts, factors, (size_t)of, (size_t)bytes / sizeof(float));
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
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
