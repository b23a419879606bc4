#![deny(warnings, unreachable_pub, private_interfaces)]

mod models {
    pub(crate) mod person_link {
        use ophie_crypt::EncryptedModel;
        use ophie_crypt_sqlx::{Encrypted, Owner};

        #[derive(EncryptedModel, sqlx::FromRow, Debug)]
        #[crypt(table = "p")]
        pub(crate) struct PersonLink {
            pub(crate) user_id: Owner<String>,
            pub(in crate::models) name: Encrypted<String, person_link::name>,
            pub(super) nick: Option<Encrypted<String, person_link::nick>>,
            pub(self) secret: Encrypted<Vec<u8>, person_link::secret>,
            hidden: Encrypted<bool, person_link::hidden>,
        }

        fn own() {
            let _ = (person_link::secret(vec![1]), person_link::hidden(true));
        }

        pub(super) fn used() {
            own();
        }
    }

    pub(crate) fn outer() {
        person_link::used();
        let _ = (
            person_link::person_link::nick("x"),
            person_link::person_link::name("x"),
        );
        let _ = person_link::person_link::nick::NULL;
    }
}

fn main() {
    models::outer();
    let _ = models::person_link::person_link::user_id("x");
    fn reads(link: &models::person_link::PersonLink) -> &str {
        &link.user_id.0
    }
    let _ = reads;
}
