//! Builds the file system that the index's RocksDB stands on (`src/index/rocks/file_system.cc`), against the
//! headers of the RocksDB that the binary links.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "rocks")]
    rocks::build();
}

#[cfg(feature = "rocks")]
mod rocks {
    use std::{env, fs, path::Path};

    const SOURCE: &str = "src/index/rocks/file_system.cc";

    /// How RocksDB's C interface keeps an environment. It is in no header, so its source has to say it still.
    const ENVIRONMENT: &str = "struct rocksdb_env_t {\n  Env* rep;\n  bool is_default;\n};";

    pub fn build() {
        let of_crate = env::var("DEP_ROCKSDB_CARGO_MANIFEST_DIR").expect("librocksdb-sys says where its sources are");
        let rocksdb = Path::new(&of_crate).join("rocksdb");
        let interface = rocksdb.join("db/c.cc");
        let text = fs::read_to_string(&interface).unwrap_or_else(|error| panic!("{}: {error}", interface.display()));
        assert!(text.contains(ENVIRONMENT), "{}: rocksdb_env_t is not what {SOURCE} takes it for", interface.display());
        println!("cargo:rerun-if-changed={SOURCE}");
        cc::Build::new()
            .cpp(true)
            .std("c++20")
            .file(SOURCE)
            .include(rocksdb.join("include"))
            // As RocksDB itself is built: its headers have other members without NDEBUG.
            .define("NDEBUG", "1")
            .flag("-include")
            .flag("cstdint")
            .flag_if_supported("-Wno-unused-parameter")
            .compile("orlop_rocksdb");
    }
}
