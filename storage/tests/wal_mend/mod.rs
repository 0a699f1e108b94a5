//! Puts right checksums on wrong contents: what only a checksum keeps out is no test of the code
//! behind it. Shared by a test and the fuzz target.

use crc_fast::crc32_iscsi;

const PAGE: usize = 4096;

/// Makes every checksum of headers right again.
pub(crate) fn mend_checksums(file: &mut [u8]) {
    for page in 0..file.len() / PAGE {
        let at = page * PAGE;
        if page == 0 {
            let crc = crc32_iscsi(&file[12..PAGE]);
            file[8..12].copy_from_slice(&crc.to_le_bytes());
        } else if file[at..at + 4] == *b"WGr\x01" {
            let heads = u32::from_le_bytes(file[at + 16..at + 20].try_into().expect("4 bytes"));
            let heads_end = (at + 72).saturating_add(heads as usize);
            if let Some(heads) = file.get(at + 72..heads_end) {
                let crc = crc32_iscsi(heads);
                file[at + 8..at + 12].copy_from_slice(&crc.to_le_bytes());
            }
            let crc = crc32_iscsi(&file[at + 8..at + 72]);
            file[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
        }
    }
}
