//! MySQL and MariaDB as targets: each behaviour on both.

mod clocks;
mod creating;
mod elevating;
mod ending;
mod examining;
mod faults;
mod found;
mod handing_out;
mod hostile;
mod identity;
mod installing;
mod mending;
mod objects;
mod privileges;
mod rig;
mod switch;
mod tls;

/// Makes of a function over a [`rig::Rig`] one test for each of the two databases.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => { $(
        mod $name {
            #[tokio::test]
            async fn mysql() {
                if let Some(rig) = crate::mysql::rig::mysql().await {
                    super::$name(rig).await;
                }
            }

            #[tokio::test]
            async fn mariadb() {
                if let Some(rig) = crate::mysql::rig::mariadb().await {
                    super::$name(rig).await;
                }
            }
        }
    )+ };
}
use on_both;
