//! Frames of HTTP/2 (RFC 9113 section 6) and field blocks (RFC 7541), byte by byte, so that an attack
//! can send what no library would.

/// What a client sends first (RFC 9113 section 3.4), with empty SETTINGS.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
/// No type of the specification: to be ignored (section 4.1).
pub const UNKNOWN: u8 = 0xee;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// CANCEL, section 7.
pub const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// SETTINGS_HEADER_TABLE_SIZE and SETTINGS_INITIAL_WINDOW_SIZE, section 6.5.2.
pub const HEADER_TABLE_SIZE: u16 = 1;
pub const INITIAL_WINDOW_SIZE: u16 = 4;

/// One frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is shorter than 16 MiB").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// The payload of SETTINGS with one parameter.
pub fn setting(name: u16, value: u32) -> Vec<u8> {
    [&name.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

/// The field block of a plain request.
pub fn request(method: &str, path: &str) -> Vec<u8> {
    // From the static table: `:scheme http` as a whole, the names of the others.
    let mut block = vec![0x86];
    for (name, value) in [(2, method), (4, path), (1, "test")] {
        block.push(name);
        block.extend(text(value));
    }
    block
}

/// A field that enters the dynamic table and is named from then on by the one byte [`NEWEST`].
pub fn remembered(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0x40];
    field.extend(text(name));
    field.extend(text(value));
    field
}

/// The newest field of the dynamic table (RFC 7541 section 2.3.3).
pub const NEWEST: u8 = 0x80 | 62;

/// A string without Huffman code (section 5.2), its length as an integer of seven bits (section 5.1).
fn text(text: &str) -> Vec<u8> {
    const PREFIX_MAX: usize = 127;
    let mut coded = Vec::with_capacity(text.len() + 4);
    if text.len() < PREFIX_MAX {
        coded.push(text.len() as u8);
    } else {
        coded.push(PREFIX_MAX as u8);
        let mut rest = text.len() - PREFIX_MAX;
        while rest >= 0x80 {
            coded.push((rest % 0x80) as u8 | 0x80);
            rest /= 0x80;
        }
        coded.push(rest as u8);
    }
    coded.extend_from_slice(text.as_bytes());
    coded
}
