//! Replies of HTTP/1.1, parsed where they lie, without a copy.

/// As much as our server sends in a head, and proxies add, many times over.
const HEAD_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 64;
/// The longest value of all is far shorter.
const BODY_MAX: u64 = 1 << 30;

/// A reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reply<'a> {
    pub(super) status: u16,
    /// The `Server` header.
    pub(super) server: Option<&'a [u8]>,
    pub(super) body: &'a [u8],
}

/// The first reply and how many bytes it takes; `None` if it is not whole yet.
///
/// # Errors
/// In words, if this is no reply, or one without a `Content-Length`.
pub(super) fn parse(input: &[u8]) -> Result<Option<(Reply<'_>, usize)>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let head_len = match head.parse(input).map_err(|e| format!("not a reply of HTTP: {e}"))? {
        httparse::Status::Complete(len) => len,
        httparse::Status::Partial if input.len() > HEAD_MAX => {
            return Err("the head of a reply does not end".to_owned());
        }
        httparse::Status::Partial => return Ok(None),
    };
    let status = head.code.expect("a whole head has a status");
    let (mut server, mut len) = (None, None);
    for header in head.headers {
        if header.name.eq_ignore_ascii_case("content-length") {
            len = Some(content_length(header.value)?);
        } else if header.name.eq_ignore_ascii_case("server") {
            server = Some(header.value);
        }
    }
    let len = match (status, len) {
        (204 | 304, _) => 0,
        (_, Some(len)) => len,
        (_, None) => return Err(format!("a reply has no Content-Length, status={status}")),
    };
    let end = head_len + len;
    let reply = input.get(head_len..end).map(|body| (Reply { status, server, body }, end));
    Ok(reply)
}

fn content_length(value: &[u8]) -> Result<usize, String> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let len = text.and_then(|text| text.parse::<u64>().ok()).filter(|&len| len <= BODY_MAX);
    len.and_then(|len| usize::try_from(len).ok()).ok_or_else(|| {
        format!("a Content-Length is not from 0 to {BODY_MAX}, got={:?}", String::from_utf8_lossy(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_ends_where_its_length_says() {
        for (text, status, body) in [
            (&b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nserver: s/1\r\n\r\nabc"[..], 200, &b"abc"[..]),
            (b"HTTP/1.1 404 Not Found\r\nServer: s/1\r\nContent-Length: 0\r\n\r\n", 404, b""),
            (b"HTTP/1.1 204 No Content\r\nserver: s/1\r\n\r\n", 204, b""),
        ] {
            let followed = [text, b"HTTP/1.1 200 OK\r\n"].concat();
            let expected = Reply { status, server: Some(b"s/1"), body };
            assert_eq!(parse(&followed).unwrap(), Some((expected, text.len())));
            for end in 0..text.len() {
                assert_eq!(parse(&text[..end]).unwrap(), None, "{:?}", String::from_utf8_lossy(&text[..end]));
            }
        }
    }

    #[test]
    fn what_is_no_reply_is_refused_in_words() {
        for (text, named) in [
            (&b"+PONG\r\n"[..], "not a reply of HTTP"),
            (b"-ERR unknown command\r\n", "not a reply of HTTP"),
            (b"HTTP/1.1 200 OK\r\n\r\nabc", "no Content-Length"),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "no Content-Length"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "not from 0"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 1x\r\n\r\n", "not from 0"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: \r\n\r\n", "not from 0"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n", "not from 0"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(named), "{:?}: {error}", String::from_utf8_lossy(text));
        }
        let endless = [&b"HTTP/1.1 200 OK\r\nx: "[..], &vec![b'a'; HEAD_MAX]].concat();
        assert!(parse(&endless).unwrap_err().contains("does not end"));
    }
}
