//! Lists that the server gives a page at a time.

use super::CliError;

/// The most that the API gives at once.
const PAGE: usize = 500;

/// A page: its items, and where to continue; empty: that was the last.
pub(super) type Page<T> = (Vec<T>, String);

/// Everything there is. `read` is given a page's size and where it begins.
///
/// # Errors
/// The first of `read`.
pub(super) async fn all<T>(
    read: impl AsyncFnMut(i32, String) -> Result<Page<T>, CliError>,
) -> Result<Vec<T>, CliError> {
    Ok(up_to(0, read).await?.0)
}

/// At most `limit` items, 0: all; and whether there are more.
///
/// # Errors
/// The first of `read`.
pub(super) async fn up_to<T>(
    limit: usize,
    mut read: impl AsyncFnMut(i32, String) -> Result<Page<T>, CliError>,
) -> Result<(Vec<T>, bool), CliError> {
    let limit = if limit == 0 { usize::MAX } else { limit };
    let (mut items, mut token) = (Vec::new(), String::new());
    loop {
        let wanted = PAGE.min(limit.saturating_sub(items.len()));
        let (page, next) = read(i32::try_from(wanted).unwrap_or(i32::MAX), token).await?;
        items.extend(page);
        token = next;
        if token.is_empty() || items.len() >= limit {
            let more = !token.is_empty() || items.len() > limit;
            items.truncate(limit);
            return Ok((items, more));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages of three out of the numbers below ten, and the sizes that were asked for.
    async fn read(limit: usize) -> (Vec<usize>, bool, Vec<i32>) {
        let mut sizes = Vec::new();
        let (items, more) = up_to(limit, async |size, token: String| {
            sizes.push(size);
            let begin: usize = token.parse().unwrap_or(0);
            let end = 10.min(begin + 3);
            Ok(((begin..end).collect(), if end < 10 { end.to_string() } else { String::new() }))
        })
        .await
        .unwrap();
        (items, more, sizes)
    }

    #[tokio::test]
    async fn pages_are_read_until_there_are_enough_or_no_more() {
        assert_eq!(read(0).await, ((0..10).collect(), false, vec![500; 4]));
        assert_eq!(read(4).await, ((0..4).collect(), true, vec![4, 1]));
        assert_eq!(read(3).await, ((0..3).collect(), true, vec![3]));
        assert_eq!(read(10).await, ((0..10).collect(), false, vec![10, 7, 4, 1]));
    }
}
