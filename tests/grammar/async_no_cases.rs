fn main() {
    let _ = async {
        aqueduct::select_async! {}
    };
}
