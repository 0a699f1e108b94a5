//! Undoing a batch's compression, with a cap on what comes out.
//!
//! 32 KB of zstd make a gigabyte if one lets them. Every codec but snappy is read as a stream and
//! stopped one byte past the cap; snappy says its size first and is held to it.

use std::io::Read;

use walrus_types::batch::Codec;

use super::RecordsError;

/// The head of xerial's framing of snappy, which the Java client writes: magic, then two
/// versions of four bytes each that nobody reads.
const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
const XERIAL_HEAD_BYTES: usize = 16;
/// No piece of snappy grows by more than this: three bytes copy at most 64.
const SNAPPY_GROWTH_MAX: usize = 64;
/// The largest window of zstd, as a power of two: what level 22 uses, the highest of Kafka's.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// The bytes that `compressed` stands for, at most `max` of them.
pub(super) fn inflate(
    codec: Codec,
    compressed: &[u8],
    max: usize,
) -> Result<Vec<u8>, RecordsError> {
    let damaged =
        |why: &dyn std::fmt::Display| RecordsError::Inflate { codec, why: why.to_string() };
    match codec {
        Codec::None => Ok(compressed.to_vec()),
        // Several members one after the other are one stream, as for Java's GZIPInputStream.
        Codec::Gzip => read(codec, flate2::bufread::MultiGzDecoder::new(compressed), max),
        Codec::Lz4 => read(codec, lz4_flex::frame::FrameDecoder::new(compressed), max),
        Codec::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(compressed)
                .map_err(|error| damaged(&error))?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|error| damaged(&error))?;
            read(codec, decoder, max)
        }
        Codec::Snappy => snappy(compressed, max),
    }
}

fn read(codec: Codec, stream: impl Read, max: usize) -> Result<Vec<u8>, RecordsError> {
    let mut out = Vec::new();
    let one_more = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    stream
        .take(one_more)
        .read_to_end(&mut out)
        .map_err(|error| RecordsError::Inflate { codec, why: error.to_string() })?;
    if out.len() > max {
        return Err(RecordsError::TooLarge { codec, limit: max });
    }
    Ok(out)
}

/// Raw snappy, or blocks of it in xerial's framing.
fn snappy(compressed: &[u8], max: usize) -> Result<Vec<u8>, RecordsError> {
    let mut out = Vec::new();
    if !compressed.starts_with(XERIAL_MAGIC) {
        snappy_block(compressed, &mut out, max)?;
        return Ok(out);
    }
    let cut = || RecordsError::Inflate { codec: Codec::Snappy, why: "a block is cut".into() };
    let mut rest = compressed.get(XERIAL_HEAD_BYTES..).ok_or_else(cut)?;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_wide| cut())?;
        let (block, after) = after.split_at_checked(length).ok_or_else(cut)?;
        snappy_block(block, &mut out, max)?;
        rest = after;
    }
    if rest.is_empty() { Ok(out) } else { Err(cut()) }
}

fn snappy_block(block: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), RecordsError> {
    let codec = Codec::Snappy;
    let damaged = |why: String| RecordsError::Inflate { codec, why };
    let grown = snap::raw::decompress_len(block).map_err(|error| damaged(error.to_string()))?;
    if grown > block.len().saturating_mul(SNAPPY_GROWTH_MAX) {
        return Err(damaged(format!("{} bytes cannot become {grown}", block.len())));
    }
    let start = out.len();
    let end = start.saturating_add(grown);
    if end > max {
        return Err(RecordsError::TooLarge { codec, limit: max });
    }
    out.resize(end, 0);
    snap::raw::Decoder::new()
        .decompress(block, &mut out[start..])
        .map_err(|error| damaged(error.to_string()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn lz4(plain: &[u8]) -> Vec<u8> {
        let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(plain: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(plain, 3).unwrap()
    }

    fn snappy_raw(plain: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(plain).unwrap()
    }

    fn xerial(plain: &[u8]) -> Vec<u8> {
        let mut out = [XERIAL_MAGIC, &[0, 0, 0, 1, 0, 0, 0, 1]].concat();
        for block in plain.chunks(32 << 10) {
            let block = snappy_raw(block);
            out.extend(u32::try_from(block.len()).unwrap().to_be_bytes());
            out.extend(block);
        }
        out
    }

    type Compress = fn(&[u8]) -> Vec<u8>;
    const CODECS: [(Codec, Compress); 5] = [
        (Codec::Gzip, gzip),
        (Codec::Lz4, lz4),
        (Codec::Zstd, zstd),
        (Codec::Snappy, snappy_raw),
        (Codec::Snappy, xerial),
    ];

    #[test]
    fn what_was_compressed_comes_back() {
        let long: Vec<u8> = (0..200_000_u32).flat_map(|n| (n % 977).to_be_bytes()).collect();
        for (codec, compress) in CODECS {
            for plain in [&b""[..], b"a", &long] {
                assert_eq!(inflate(codec, &compress(plain), 1 << 20).as_deref(), Ok(plain));
            }
        }
    }

    #[test]
    fn nothing_grows_past_the_cap() {
        let plain = vec![0; 1 << 20];
        for (codec, compress) in CODECS {
            let compressed = compress(&plain);
            assert!(inflate(codec, &compressed, 1 << 20).is_ok(), "{codec:?}");
            let limit = (1 << 20) - 1;
            let error = inflate(codec, &compressed, limit);
            assert_eq!(error, Err(RecordsError::TooLarge { codec, limit }));
        }
    }

    #[test]
    fn every_cut_and_every_flip_is_an_error_or_bytes_below_the_cap() {
        let plain: Vec<u8> = (0..3000_u32).flat_map(|n| (n % 91).to_be_bytes()).collect();
        for (codec, compress) in CODECS {
            let good = compress(&plain);
            for end in 0..good.len() {
                if let Ok(bytes) = inflate(codec, &good[..end], 20_000) {
                    // Framing without a checksum may end between two blocks.
                    assert!(plain.starts_with(&bytes), "{codec:?} cut at {end}");
                }
            }
            for at in 0..good.len() {
                let mut bytes = good.clone();
                bytes[at] ^= 0x55;
                if let Ok(bytes) = inflate(codec, &bytes, 20_000) {
                    assert!(bytes.len() <= 20_000);
                }
            }
        }
    }

    #[test]
    fn snappy_that_promises_too_much_is_refused_before_room_is_made() {
        let promise = [0xff, 0xff, 0xff, 0xff, 0x0f, 0];
        let error = inflate(Codec::Snappy, &promise, usize::MAX).unwrap_err();
        assert!(error.to_string().contains("6 bytes cannot become 4294967295"), "{error}");
    }

    #[test]
    fn gzip_of_several_members_is_one_stream() {
        let both = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(inflate(Codec::Gzip, &both, 100).unwrap(), b"one two");
    }
}
