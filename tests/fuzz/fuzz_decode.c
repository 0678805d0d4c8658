/* libFuzzer harness for both compressed_segmentation decoders.
 *
 * The input's first eight bytes choose the type, shape, block size, memory order and set of
 * instructions; the rest is the chunk. A second call decodes a region of it. Run by
 * `scripts/fuzz.sh`. A decoder must write inside its output and read inside its input, whatever
 * the bytes: the sanitizers check that.
 */
#include "segmentation.h"

static Codec codecs[2];
static int only_labels; /* NGCORE_FUZZ_LABELS: 32 or 64, else both */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *labels = getenv("NGCORE_FUZZ_LABELS");
    (void)argc;
    (void)argv;
    codecs[0] = choose_codec(0);
    codecs[1] = choose_codec(1);
    only_labels = labels ? atoi(labels) : 0;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    ptrdiff_t shape[4], strides[4], block[3], region[6], width;
    const Codec *codec;
    uint8_t *data;
    char *out;
    size_t fault, words;
    int axis, status;
    if (size < 12)
        return 0;
    for (axis = 0; axis < 3; axis++)
        shape[axis] = 1 + input[axis] % 20;
    shape[3] = 1 + input[3] % 3;
    for (axis = 0; axis < 3; axis++)
        block[axis] = input[7] & 4 ? 8 : 1 + input[4 + axis] % 64;
    width = only_labels ? only_labels / 8 : input[7] & 1 ? 8 : 4;
    codec = &codecs[input[7] >> 3 & 1];
    for (axis = 0; axis < 3; axis++) {
        region[axis] = input[7] & 16 ? input[4 + axis] % shape[axis] : 0;
        region[axis + 3] = shape[axis];
        if (input[7] & 32)
            region[axis + 3] = region[axis] + 1 + input[axis] % (shape[axis] - region[axis]);
    }
    if (input[7] & 2) { /* C order */
        strides[3] = width;
        for (axis = 2; axis >= 0; axis--)
            strides[axis] = strides[axis + 1] * shape[axis + 1];
    } else {
        strides[0] = width;
        for (axis = 1; axis < 4; axis++)
            strides[axis] = strides[axis - 1] * shape[axis - 1];
    }
    words = (size - 8) / 4;
    /* Buffers of the exact size, so that one byte too far is seen. */
    data = (uint8_t *)malloc(4 * words);
    out = (char *)malloc((size_t)(shape[0] * shape[1] * shape[2] * shape[3] * width));
    memcpy(data, input + 8, 4 * words);
    status = (width == 8 ? codec->decode_u64 : codec->decode_u32)(data, words, out, shape, strides,
                                                                  block, region, &fault);
    if (status && fault > words)
        abort(); /* the message would point outside of the chunk */
    free(data);
    free(out);
    return 0;
}
