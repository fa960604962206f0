//! Pictures of one colour.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::ZlibEncoder;

/// A PNG of one colour (ISO/IEC 15948): one bit a pixel, and a palette with one entry.
pub(super) fn png(width: u32, height: u32, colour: [u8; 3]) -> Bytes {
    let mut image = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut head = [width.to_be_bytes(), height.to_be_bytes()].concat();
    head.extend([1, 3, 0, 0, 0]);
    chunk(&mut image, *b"IHDR", &head);
    chunk(&mut image, *b"PLTE", &colour);
    // Each row begins with its filter, none.
    let row = vec![0; 1 + width.div_ceil(8) as usize];
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
    let rows: std::io::Result<()> = (0..height).try_for_each(|_| packed.write_all(&row));
    let packed = rows.and_then(|()| packed.finish()).unwrap_or_default();
    chunk(&mut image, *b"IDAT", &packed);
    chunk(&mut image, *b"IEND", &[]);
    image.into()
}

fn chunk(image: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    image.extend(u32::try_from(data.len()).unwrap_or_default().to_be_bytes());
    let mut sum = flate2::Crc::new();
    for part in [&kind[..], data] {
        sum.update(part);
        image.extend(part);
    }
    image.extend(sum.sum().to_be_bytes());
}
